"""`vedette sinks`: alerts to SIEMs."""
