"""What `train` calls: the tasks from gold to a decided model package, and the text of the approval."""
