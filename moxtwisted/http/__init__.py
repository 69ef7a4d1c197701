"""HTTP applications, each a package of its own, over ``moxtwisted.http.support``."""
