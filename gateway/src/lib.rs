//! HTTP in: /function, /async-function, /system.
