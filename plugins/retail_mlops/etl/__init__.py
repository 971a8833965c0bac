"""What `etl` calls: the timetable of shop weeks and the tasks from a raw file to gold."""
