"""The REST API: OpenAI's shapes and JC1's own resources over one `Workbench`."""
