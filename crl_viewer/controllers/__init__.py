"""One verb each: loading, choosing parameters, displaying, synthesising, exporting. No Qt."""
