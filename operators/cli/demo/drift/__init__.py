"""`vedette demo drift`: a stream that drifts, an alarm, a challenger, its rollout; recall before and after."""
