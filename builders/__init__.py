"""One module per table, same name: reads tables, writes exactly one."""
