"""The errors of pipelines.

    PipelineError
    |- PipelineFileError  dvc.yaml, dvc.lock or a file of parameters is wrong
    |- ContentError       a file cannot be read, kept or restored
    |- RunInProgress      another process runs this project
    `- StageError         a stage failed, or did not do what it declares
       `- StageStopped    a signal ended it

Trying again helps only with RunInProgress, and where the outside world changed."""


class PipelineError(Exception):
    """The pipeline cannot do what was asked; the message says what, where, and the way out."""


class PipelineFileError(PipelineError):
    """What is written in dvc.yaml, dvc.lock or a file of parameters is wrong."""


class ContentError(PipelineError):
    """A file or folder cannot be read, kept or restored."""


class RunInProgress(PipelineError):
    """Another process runs this project."""


class StageError(PipelineError):
    """A stage failed, or did not do what it declares."""


class StageStopped(StageError):
    """A signal ended the run of a stage."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
