"""The doors: request bytes in, response bytes out. They use only serving.ports of what lies behind them."""
