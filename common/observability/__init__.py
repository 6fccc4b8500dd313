"""What operators look at: structured logs and the audit trail."""
