//! One box: desired state on disk, a pure planner, a reconcile loop, replicas as processes.
