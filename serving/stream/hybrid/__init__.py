"""HYBRID: verdicts of the stream become signals of an entity's risk, and a doubtful event gets a closer look within a deadline.

`signals` says what a verdict means for a risk (pure). `follower` reads verdicts into the ledger of risks. `enricher` scores events of the
enrichment queue with another model. Both are members of a consumer group of their own, beside the stream worker."""
