"""Where events come from: a table for each record type, put in order, cut into steps and published."""
