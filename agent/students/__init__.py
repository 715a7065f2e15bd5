"""Local models that learn from the answers: one module a student, each with `Settings`, `build` and `load_from`.

Knows no store and no loop. A saved student is a folder with `head.safetensors` and `student.json`, whose key
"student" names the module that opens it.
"""
