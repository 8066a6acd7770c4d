"""Keys that sign the chain: which one signs now, and which ones verification trusts for what time."""
