"""CloudWatch: metrics embedded in log events, filters of log events, saved queries."""
