"""The experiment file, typed: frozen models that refuse a key they do not know.

What a file may say of an environment or an algorithm is not listed here: it is that class's own ``Params``.
``wealtharena.experiment`` brings the two together.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from wealtharena.spec_curriculum import CurriculumSpec
from wealtharena.spec_tune import TuneSpec

Target = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="module:Class")]
"""Names a class, as in ``policies.ppo:PPO``."""

GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Section(BaseModel):
    """Base of every section of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True)


class EnvironmentSpec(Section):
    """The world: a subclass of ``environments.base.ArrayEnv`` and its parameters."""

    class_: Target = Field(alias="class")
    params: dict[str, Any] = {}


class MemberSpec(Section):
    """What one group of agents learns with.

    Attributes:
        algorithm: The algorithm's class.
        params: Its hyperparameters.
        start_from: A saved agent, or a team, run or checkpoint with a group of the same name, whose weights and
            normaliser the training starts from.
        frozen: It acts and does not learn: neither its weights nor its normaliser change.
    """

    algorithm: Target
    params: dict[str, Any] = {}
    start_from: Path | None = None
    frozen: bool = False


class SamplingSpec(Section):
    """How experience is gathered.

    Attributes:
        runners: Remote samplers; 0 samples in the training process itself.
        envs_per_runner: E, the copies of the environment that each sampler steps together.
        fragment: T, the steps taken between two updates.
        overlap: Whether remote samplers go on while the learners learn, with weights that are then an iteration older.
    """

    runners: int = Field(0, ge=0)
    envs_per_runner: int = Field(64, ge=1)
    fragment: int = Field(64, ge=1)
    overlap: bool = False

    @field_validator("overlap")
    @classmethod
    def _overlap_takes_two(cls, overlap: bool, info: ValidationInfo) -> bool:
        if overlap and info.data.get("runners") == 0:
            raise ValueError("with sampling.runners = 0 one process samples and learns in turn; give it 1 or more")
        return overlap


class LearningSpec(Section):
    """Where gradients are computed.

    Attributes:
        learners: Remote learners per family of members, all families at the same time; 0 learns in the training process
            itself, one family after the other.
        gpus_per_learner: GPUs, or a share of one, that each learner takes; null: one, or an equal share of one, as far
            as there are any.
        precision: What the products of networks are computed in; bf16 leaves parameters, losses and optimisers float32.
        accumulate: Minibatches whose mean gradient makes one step.
    """

    learners: int = Field(0, ge=0)
    gpus_per_learner: float | None = Field(None, ge=0)
    precision: Literal["float32", "bf16"] = "float32"
    accumulate: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _no_two_on_one_gpu(self) -> Self:
        if self.learners > 1 and (self.gpus_per_learner or 0) % 1:
            raise ValueError(
                f"with learners = {self.learners}, gpus_per_learner must be a whole number or null: learners that "
                f"share a GPU exchange no gradients (got {self.gpus_per_learner:g})"
            )
        return self


class StopSpec(Section):
    """When training is over: as soon as one of the limits is reached.

    Attributes:
        env_steps: Steps of the environment, over all copies.
        iterations: Rounds of sampling and learning.
        seconds: Time spent training, without the time between interruption and resumption.
    """

    env_steps: int | None = Field(None, ge=1)
    iterations: int | None = Field(None, ge=1)
    seconds: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if self.env_steps is None and self.iterations is None and self.seconds is None:
            raise ValueError("give at least one of env_steps, iterations, seconds")
        return self


class CheckpointSpec(Section):
    """What is kept of a run.

    Attributes:
        every: Iterations between two checkpoints; one more is written at the end.
        keep: The last checkpoints that stay on disk, beside the best one.
        metric: What "best" means, more being better: ``team_return`` (mean of the groups' episode returns)
            or ``<group>/<metric>`` as in ``metrics/progress.csv``. Always a training metric, never test data.
    """

    every: int = Field(10, ge=1)
    keep: int = Field(3, ge=1)
    metric: str = "team_return"


class EarlyStoppingSpec(Section):
    """Stops a run that no longer improves.

    Attributes:
        metric: As in ``checkpoint.metric``.
        patience: Iterations without an improvement after which training stops.
        min_delta: The least that counts as an improvement.
    """

    metric: str = "team_return"
    patience: int = Field(ge=1)
    min_delta: float = Field(0.0, ge=0)


class WindowSpec(Section):
    """Dates, both ends inclusive; null: as far as the data goes."""

    start: date | None = None
    end: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start is not None and self.end is not None and self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}")
        return self

    def overlaps(self, other: WindowSpec) -> bool:
        """Whether some day lies in both windows."""
        return _not_after(self.start, other.end) and _not_after(other.start, self.end)

    def follows(self, other: WindowSpec) -> bool:
        """Whether it begins after the other window ends."""
        return not _not_after(self.start, other.end)

    def __str__(self) -> str:
        return f"{self.start or 'first bar'} to {self.end or 'last bar'}"


def _not_after(start: date | None, end: date | None) -> bool:
    return start is None or end is None or start <= end


class WalkForwardSpec(Section):
    """Many tests instead of one: the test window is cut into folds, each with a team of its own (see ``folds``).

    Lengths are counted in days with a bar: the dates of the market's calendar, whatever lies between them.

    Attributes:
        scheme: What later folds train on: ``rolling`` moves the training window, ``expanding`` lets it grow.
        folds: Into how many test windows of equal length the test window is cut.
        test_days: Or the length of each of them. A rest of at least half of it is a fold too, a shorter one goes to the
            last fold.
        purge_days: The least number of days between the end of a fold's training and the beginning of its test.
        embargo_days: Days after a test window that the next fold leaves out, in its training and in its test.
    """

    scheme: Literal["rolling", "expanding"] = "rolling"
    folds: int | None = Field(None, ge=2)
    test_days: int | None = Field(None, ge=2)
    purge_days: int = Field(0, ge=0)
    embargo_days: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.folds is None) == (self.test_days is None):
            raise ValueError("give one of folds, the number of test windows, and test_days, the length of each")
        return self


class EvaluationSpec(Section):
    """What the trained team is judged on.

    Attributes:
        window: The dates of the test, apart from the training window; for environments that have a ``window``.
        walk_forward: Cuts the window into folds; null: one test.
        episodes: Evaluation episodes.
        trials: Configurations that were tried on this window, of which this one is shown; null: the seeds of the run.
    """

    window: WindowSpec | None = None
    walk_forward: WalkForwardSpec | None = None
    episodes: int = Field(1, ge=1)
    trials: int | None = Field(None, ge=1)


class PhaseSpec(Section):
    """One part of a training in phases; it goes on with the weights of the phases before it.

    Attributes:
        name: Of its folder, in the run's ``phases``.
        kind: Who learns: each trader ``individual``ly, alone in the market and under fixed budgets; all of them in
            ``joint`` training; or, ``meta``, the allocator above traders that are frozen or slow.
        stop: When it is over (of an individual phase: each trader's training); null: as ``stop`` of the file says.
        members: member -> its hyperparameters that are others in this phase.
        frozen: The members that act and do not learn; null: in a meta phase all but the allocator, otherwise nobody.
        parallel: Of an individual phase: how many traders train at the same time, in processes of their own.
    """

    name: GroupName
    kind: Literal["individual", "joint", "meta"]
    stop: StopSpec | None = None
    members: dict[GroupName, dict[str, Any]] = {}
    frozen: tuple[GroupName, ...] | None = None
    parallel: int = Field(1, ge=1)


class WandbSpec(Section):
    """Weights & Biases: the extra ``wandb``.

    Attributes:
        project: Of the run.
        entity: User or team; null: the one that is logged in.
    """

    project: str = Field(min_length=1)
    entity: str | None = None


class MlflowSpec(Section):
    """MLflow: the extra ``mlflow``.

    Attributes:
        experiment: Of the run.
        uri: Of the tracking server; null: MLflow's own setting.
    """

    experiment: str = Field(min_length=1)
    uri: str | None = None


class TrackingSpec(Section):
    """Who else is told of every iteration; nobody unless the file says so.

    Attributes:
        wandb: Weights & Biases.
        mlflow: MLflow.
    """

    wandb: WandbSpec | None = None
    mlflow: MlflowSpec | None = None


class ExperimentSpec(Section):
    """One experiment file.

    Attributes:
        storage: Where folders of runs are made: a folder, or any URI that pyarrow's filesystems take
            (``s3://bucket/runs``); null: ``runs``.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: int = Field(0, ge=0, lt=2**31)
    storage: str | None = Field(None, min_length=1)
    environment: EnvironmentSpec
    members: dict[GroupName, MemberSpec] = Field(min_length=1)
    sampling: SamplingSpec = SamplingSpec()
    learning: LearningSpec = LearningSpec()
    stop: StopSpec
    checkpoint: CheckpointSpec = CheckpointSpec()
    early_stopping: EarlyStoppingSpec | None = None
    evaluation: EvaluationSpec = EvaluationSpec()
    phases: tuple[PhaseSpec, ...] = ()
    curriculum: CurriculumSpec | None = None
    tune: TuneSpec | None = None
    tracking: TrackingSpec | None = None

    @property
    def frozen_members(self) -> tuple[str, ...]:
        """Those that act and do not learn."""
        return tuple(name for name, member in self.members.items() if member.frozen)
