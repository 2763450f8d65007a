"""The curriculum: which stages of the environment a team is trained on, and when it goes from one to the next."""
