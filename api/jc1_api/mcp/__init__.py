"""MCP: memory and chat as tools and resources of other people's agents, over standard input and output or over HTTP."""
