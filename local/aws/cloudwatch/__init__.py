"""CloudWatch: metrics embedded in log events, saved queries."""
