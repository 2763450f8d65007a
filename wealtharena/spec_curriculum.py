"""The ``curriculum:`` section of the experiment file: easier settings of the environment before the one that counts."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

StageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class CurriculumSection(BaseModel):
    """Base of every part of the section."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SuccessSpec(CurriculumSection):
    """What an episode is worth to the curriculum.

    Attributes:
        metric: ``team_return`` (mean of the groups' returns), ``<group>/episode_return`` or ``episode_length``.
        at_least: What of it makes an episode a success, 1, and otherwise 0; null: the metric itself counts.
    """

    metric: str = "team_return"
    at_least: float | None = None


class PlateauSpec(CurriculumSection):
    """A stage is passed too when nothing more is learnt in it.

    Attributes:
        episodes: The last ones, through which a line is laid: the 95% interval of its slope must hold 0.
        above: What the lower bound of the success must be above all the same.
    """

    episodes: int = Field(500, ge=100)
    above: float


class PromotionSpec(CurriculumSection):
    """Goes on to the next stage when the team is good at this one, and back when it is not.

    A check looks at episodes of this stage that no other check has seen.

    Attributes:
        kind: ``promotion``.
        promote_above: A check is passed if the lower bound of the mean success is above it.
        regress_below: A check is failed if the upper bound is below it; null: there is no way back.
        episodes: Of a check; where more copies are stepped, as many as these.
        patience: Checks in a row that must be passed, or failed.
        grace: Episodes of this stage before the first check that can be failed.
        confidence: Of each bound.
        plateau: Another way to pass a check; null: none.
    """

    kind: Literal["promotion"]
    promote_above: float
    regress_below: float | None = None
    episodes: int = Field(100, ge=100)
    patience: int = Field(2, ge=1)
    grace: int = Field(1000, ge=0)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    plateau: PlateauSpec | None = None

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.regress_below is not None and self.regress_below >= self.promote_above:
            raise ValueError(
                f"regress_below: {self.regress_below:g} must be below promote_above = {self.promote_above:g}: "
                "between the two a stage is kept"
            )
        return self


class ScheduleSpec(CurriculumSection):
    """Goes on at given times.

    Attributes:
        kind: ``schedule``.
        env_steps: Steps of the environment, over all copies, at which each stage but the first begins.
    """

    kind: Literal["schedule"]
    env_steps: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)

    @field_validator("env_steps")
    @classmethod
    def _in_order(cls, env_steps: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in pairwise(env_steps)):
            raise ValueError("must rise from stage to stage")
        return env_steps


class ProgressSpec(CurriculumSection):
    """Plays most where most is learnt, or forgotten (Matiisen et al. 2019; Portelas et al. 2019).

    Attributes:
        kind: ``progress``.
        explore: The share of copies that all stages have alike.
        episodes: Of a stage, whose mean success is one score of it.
        rate: The weight of the newest change of a score in the mean change.
    """

    kind: Literal["progress"]
    explore: float = Field(0.2, gt=0, le=1)
    episodes: int = Field(100, ge=10)
    rate: float = Field(0.3, gt=0, le=1)


class MixtureSpec(CurriculumSection):
    """Plays all stages alike, from the beginning to the end.

    Attributes:
        kind: ``mixture``.
    """

    kind: Literal["mixture"]


Rule = Annotated[PromotionSpec | ScheduleSpec | ProgressSpec | MixtureSpec, Field(discriminator="kind")]


class CurriculumSpec(CurriculumSection):
    """Stages of the environment, and the rule by which a team goes through them.

    Attributes:
        stages: Name -> parameters of the environment that are others there, from the first stage to the last. A nested
            section is merged into what is there; the value at a dotted path (``a.b.c``) takes the place of what is
            there. The last stage is the environment of the file itself, on which the team is tested.
        success: What an episode is worth.
        rule: When the stages change.
        replay: The share of copies that play earlier stages, all of them alike; for promotion and schedule.
    """

    stages: dict[StageName, dict[str, Any]] = Field(min_length=2)
    success: SuccessSpec = SuccessSpec()
    rule: Rule
    replay: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _fit(self) -> Self:
        last = list(self.stages)[-1]
        if self.stages[last]:
            raise ValueError(
                f"stages.{last}: the last stage is the environment as the file has it, on which the team is tested; "
                "write these into environment.params, or add a stage after it"
            )
        if self.replay and self.rule.kind in ("progress", "mixture"):
            raise ValueError(f"replay: rule.kind: {self.rule.kind} plays all stages all the time; leave replay out")
        if isinstance(self.rule, ScheduleSpec) and len(self.rule.env_steps) != len(self.stages) - 1:
            raise ValueError(
                f"rule.env_steps: {len(self.rule.env_steps)} given, and {len(self.stages)} stages take "
                f"{len(self.stages) - 1}: when each but the first begins"
            )
        if isinstance(self.rule, PromotionSpec) and self.success.at_least is not None:
            _check_shares(self.rule)
        return self


def _check_shares(rule: PromotionSpec) -> None:
    bars = {"promote_above": rule.promote_above, "regress_below": rule.regress_below}
    for name, bar in bars.items():
        if bar is not None and not 0 <= bar < 1:
            raise ValueError(f"rule.{name}: {bar:g}: with success.at_least it is a share, from 0 to below 1")
