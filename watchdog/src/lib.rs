//! In front of the process in a function image: modes http, streaming, serializing.
