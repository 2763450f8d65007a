"""WealthArena: teams of reinforcement-learning agents on Ray RLlib."""
