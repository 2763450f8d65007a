"""The heart: a team of members, each with its own algorithm, as one RLlib Algorithm."""
