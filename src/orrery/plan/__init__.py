"""The plan as data: systems, claims, practice and guide, and the records that answer claims."""
