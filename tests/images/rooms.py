"""What each image is for: its requirements file, the rooms it runs, and rooms that it has but runs not."""

REQUIREMENTS = {"serving": "serving", "lifecycle": "operators", "operator": "operator"}
ROOMS = {
    "serving": ("serving", "feature_repo"),
    "lifecycle": ("serving", "feature_repo", "lifecycle", "operators"),
    "operator": ("operators.handlers", "operators.rollout", "operators.autoscaling", "operators.api", "operators.backends"),
}
NOT_FOR = {
    "serving": ("serving.batch",),
    "lifecycle": ("lifecycle.governance.registry.exchange.mlflow", "lifecycle.governance.registry.exchange.wandb"),
}
"""Rooms that are in the image because they are in the package, and that it has no packages for."""
