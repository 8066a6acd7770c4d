"""The rollout core: pure. Decides; acts on nothing."""
