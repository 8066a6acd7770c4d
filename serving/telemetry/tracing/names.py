"""What spans and their attributes are called: OpenTelemetry's semantic conventions where they have a name, `vedette.*` else."""

from typing import Final

DECODE: Final = "decode"
FEATURES: Final = "features"
MODEL: Final = "model"
