"""A manifest with one operating point, for checks that need no graph."""

from serving.models.manifest import Expected, Manifest, OperatingPoint, ScoreSpec, TensorSpec


def manifest(requirement="", attack_share=None):
    """attack_share: of the validation rows; None: the requirement was not measured."""
    expected = None
    if attack_share is not None:
        expected = Expected(precision=0.9, recall=0.9, f1=0.9, false_alarm_rate=0.01, attack_share=attack_share, rows=1000)
    point = OperatingPoint(threshold=0.5, investigate=0.4, requirement=requirement, expected=expected)
    return Manifest(
        name="flows",
        version="3",
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 1)),),
        outputs=(TensorSpec(name="p", datatype="FP32", shape=(-1, 2)),),
        score=ScoreSpec(output="p", column=1),
        operating_points={"alerting": point},
        default_operating_point="alerting",
        files={"model.onnx": "0" * 64},
    )
