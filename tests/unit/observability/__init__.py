"""Tests of logs and the audit trail."""
