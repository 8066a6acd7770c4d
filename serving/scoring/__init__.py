"""The core of the data plane: request -> variant -> features -> scores -> verdict. It asks only serving.ports."""
