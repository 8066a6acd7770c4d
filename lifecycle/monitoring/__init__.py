"""Whether a model still meets the data and gives the answers that it was judged by: drift, alarms, and the monitor that looks for them."""
