"""Who asks and who pays: accounts, API keys, and an append-only ledger in micro-credits."""
