//! Resources: the function's own, then its profiles', then defaults for a box of 2 GB.

use crate::Stalled;
use crate::config::DefaultResources;
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kubernetes::{FunctionSpec, Resources};
use std::collections::BTreeMap;
use wire::quantity::{self, QuantityError};

type Quantities = BTreeMap<String, Quantity>;

const MEMORY: &str = "memory";
const CPU: &str = "cpu";

pub(super) fn requirements(
    spec: &FunctionSpec,
    profile: Option<&ResourceRequirements>,
    defaults: &DefaultResources,
) -> Result<ResourceRequirements, Stalled> {
    let profile = profile.cloned().unwrap_or_default();
    let mut limits = profile.limits.unwrap_or_default();
    let mut requests = profile.requests.unwrap_or_default();
    own("limits", spec.limits.as_ref(), &mut limits)?;
    own("requests", spec.requests.as_ref(), &mut requests)?;

    // Without a request Kubernetes sets the whole limit aside, which a small box has not got.
    smaller(MEMORY, &defaults.memory_request, &mut requests, &limits)?;
    smaller(CPU, &defaults.cpu_request, &mut requests, &limits)?;
    if !limits.contains_key(MEMORY) {
        let asked = requests.get(MEMORY).map_or(Ok(0), |asked| value("requests", MEMORY, asked))?;
        let limit = Quantity(defaults.memory_limit.clone());
        let enough = value("limits", MEMORY, &limit)? >= asked;
        let limit = if enough { limit } else { requests[MEMORY].clone() };
        limits.insert(MEMORY.to_owned(), limit);
    }
    for what in [MEMORY, CPU] {
        let (Some(request), Some(limit)) = (requests.get(what), limits.get(what)) else { continue };
        if value("requests", what, request)? > value("limits", what, limit)? {
            let (request, limit) = (request.0.clone(), limit.0.clone());
            return Err(Stalled::RequestAboveLimit { what, request, limit });
        }
    }
    Ok(ResourceRequirements { limits: Some(limits), requests: Some(requests), claims: profile.claims })
}

/// The function's own; an empty one and zero are none.
fn own(field: &str, given: Option<&Resources>, into: &mut Quantities) -> Result<(), Stalled> {
    let Some(given) = given else { return Ok(()) };
    for (what, text) in [(MEMORY, &given.memory), (CPU, &given.cpu)] {
        let Some(text) = text.as_deref().map(str::trim).filter(|text| !text.is_empty()) else { continue };
        let quantity = Quantity(text.to_owned());
        if value(field, what, &quantity)? > 0 {
            into.insert(what.to_owned(), quantity);
        }
    }
    Ok(())
}

/// The default request, or the limit when that is smaller.
fn smaller(what: &'static str, default: &str, requests: &mut Quantities, limits: &Quantities) -> Result<(), Stalled> {
    if requests.contains_key(what) {
        return Ok(());
    }
    let default = Quantity(default.to_owned());
    let request = match limits.get(what) {
        Some(limit) if value("limits", what, limit)? < value("requests", what, &default)? => limit.clone(),
        _ => default,
    };
    requests.insert(what.to_owned(), request);
    Ok(())
}

/// Bytes, or thousandths of a core.
fn value(field: &str, what: &str, quantity: &Quantity) -> Result<u64, Stalled> {
    let read: fn(&str) -> Result<u64, QuantityError> = if what == MEMORY { quantity::memory } else { quantity::cpu };
    read(&quantity.0).map_err(|error| Stalled::BadQuantity { field: format!("{field}.{what}"), error })
}
