"""What each entity did in a window of time (an hour), and how unusual that is: one row for each entity and window.

`features` is the definition that training and batch share, `history` the peers that were seen before, `risk_scorer` scores a window."""
