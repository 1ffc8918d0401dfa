use super::*;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

#[test]
fn resources_are_the_function_s_own_and_small_otherwise() {
    let of = |spec: Value| {
        let resources = container(&built(spec)).resources.clone().unwrap();
        let read = |map: Option<BTreeMap<String, Quantity>>| -> BTreeMap<String, String> {
            map.unwrap().into_iter().map(|(key, quantity)| (key, quantity.0)).collect()
        };
        (json!(read(resources.limits)), json!(read(resources.requests)))
    };
    assert_eq!(of(json!({})), (json!({"memory": "256Mi"}), json!({"memory": "16Mi", "cpu": "10m"})));
    let own = json!({"limits": {"memory": "128Mi", "cpu": ""}, "requests": {"memory": "", "cpu": "0.5"}});
    assert_eq!(of(own), (json!({"memory": "128Mi"}), json!({"memory": "16Mi", "cpu": "0.5"})));
    // A limit below the default request, a request above the default limit.
    let small = json!({"limits": {"memory": "8Mi", "cpu": "5m"}});
    assert_eq!(of(small), (json!({"memory": "8Mi", "cpu": "5m"}), json!({"memory": "8Mi", "cpu": "5m"})));
    let large = json!({"requests": {"memory": "1Gi"}});
    assert_eq!(of(large), (json!({"memory": "1Gi"}), json!({"memory": "1Gi", "cpu": "10m"})));
    assert_eq!(of(json!({"limits": {"memory": "0"}})).0, json!({"memory": "256Mi"}));
}

#[test]
fn bad_quantities_say_where_and_what_to_write() {
    let stalled = refused(json!({"limits": {"memory": "12XB"}}));
    assert_eq!(stalled.reason(), "BadQuantity");
    assert_eq!(
        stalled.to_string(),
        "limits.memory: \"12XB\" is not a quantity of memory: give a number with an optional unit, like 128Mi"
    );
    assert!(refused(json!({"requests": {"cpu": "many"}})).to_string().starts_with("requests.cpu: "));
    let above = refused(json!({"limits": {"memory": "64Mi"}, "requests": {"memory": "128Mi"}}));
    assert_eq!(
        above.to_string(),
        "requests.memory 128Mi is more than limits.memory 64Mi: raise the limit or ask for less"
    );
}

#[test]
fn replicas_are_the_scaler_s_then_the_least_then_one() {
    let replicas = |spec: Value| crate::objects::replicas(&function(spec));
    assert_eq!(replicas(json!({})), 1);
    assert_eq!(replicas(json!({"replicas": 0})), 0);
    assert_eq!(replicas(json!({"labels": {"com.openfaas.scale.min": "3"}})), 3);
    assert_eq!(replicas(json!({"replicas": 5, "labels": {"com.openfaas.scale.min": "3"}})), 5);
    assert_eq!(replicas(json!({"labels": {"com.openfaas.scale.min": "0"}})), 1);
    assert_eq!(replicas(json!({"labels": {"com.openfaas.scale.min": "many"}})), 1);
    assert_eq!(replicas(json!({"labels": {"com.openfaas.scale.min": "1000000"}})), 1000);
}

#[test]
fn a_data_directory_is_a_claim_of_its_own_and_belongs_to_one_replica() {
    let spec = json!({"replicas": 3, "annotations": {"com.crema.data.path": "/data", "com.crema.data.size": "2Gi"}});
    let objects = built(spec);
    let claim = objects.claim.as_ref().unwrap();
    assert_eq!(claim.metadata.name.as_deref(), Some("order-data"));
    assert_eq!(claim.metadata.owner_references, None);
    assert_eq!(claim.metadata.labels.as_ref().unwrap()["faas_function"], "order");
    assert_eq!(claim_size(claim), Some("2Gi"));
    assert_eq!(claim.spec.as_ref().unwrap().access_modes.as_ref().unwrap(), &["ReadWriteOnce"]);
    let deployment = objects.deployment.spec.as_ref().unwrap();
    assert_eq!(deployment.replicas, Some(1));
    assert_eq!(deployment.strategy.as_ref().unwrap().type_.as_deref(), Some("Recreate"));
    assert_eq!(objects.notes, ["3 replicas are asked for, but a data directory belongs to one: 1 runs"]);
    let mounts = container(&objects).volume_mounts.as_ref().unwrap();
    assert!(mounts.iter().any(|mount| mount.name == "data" && mount.mount_path == "/data"));
    let volumes = pod(&objects).volumes.as_ref().unwrap();
    let volume = volumes.iter().find(|volume| volume.name == "data").unwrap();
    assert_eq!(volume.persistent_volume_claim.as_ref().unwrap().claim_name, "order-data");
    assert_eq!(pod(&objects).security_context.as_ref().unwrap().fs_group, Some(12000));

    let one = built(annotated(json!({"com.crema.data.path": "/data"})));
    assert_eq!(claim_size(one.claim.as_ref().unwrap()), Some("1Gi"));
    assert!(one.notes.is_empty());
    for (name, value) in
        [("com.crema.data.path", "data"), ("com.crema.data.path", "/"), ("com.crema.data.path", "/a/../b")]
    {
        assert_eq!(refused(annotated(json!({ name: value }))).reason(), "BadAnnotation", "{value}");
    }
    for size in ["much", "0"] {
        let stalled = refused(annotated(json!({"com.crema.data.path": "/data", "com.crema.data.size": size})));
        assert!(stalled.to_string().contains("com.crema.data.size"), "{stalled}");
    }
}

#[test]
fn profiles_are_merged_in_order_and_the_function_s_own_resources_win() {
    let world = World {
        profiles: [
            (
                "first",
                json!({
                "tolerations": [{"key": "a", "operator": "Exists"}],
                "podSecurityContext": {"runAsUser": 1000, "fsGroup": 5},
                "dnsConfig": {"nameservers": ["10.0.0.1"], "searches": ["a"]},
                "resources": {"limits": {"memory": "512Mi", "example.com/gpu": "1"}, "requests": {"cpu": "50m"}},
                "runtimeClassName": "slow", "priorityClassName": "low", "strategy": {"type": "RollingUpdate"}}),
            ),
            (
                "second",
                json!({
                "tolerations": [{"key": "b", "operator": "Exists"}],
                "podSecurityContext": {"runAsUser": 2000},
                "dnsConfig": {"nameservers": ["10.0.0.2"]},
                "resources": {"requests": {"cpu": "70m"}},
                "runtimeClassName": "gvisor", "dnsPolicy": "None", "strategy": {"type": "Recreate"},
                "affinity": {"nodeAffinity": {}}}),
            ),
        ]
        .into(),
        ..World::default()
    };
    let spec = json!({"annotations": {"com.openfaas.profile": "first, second"}, "limits": {"memory": "64Mi"}});
    let objects = in_world(spec, &world).unwrap();
    let pod = pod(&objects);
    assert_eq!(pod.tolerations.as_ref().unwrap().len(), 2);
    let security = pod.security_context.as_ref().unwrap();
    assert_eq!((security.run_as_user, security.fs_group, security.run_as_non_root), (Some(2000), Some(5), Some(true)));
    let dns = pod.dns_config.as_ref().unwrap();
    assert_eq!((dns.nameservers.as_ref().unwrap().len(), dns.searches.as_ref().unwrap().len()), (1, 1));
    assert_eq!(dns.nameservers.as_ref().unwrap()[0], "10.0.0.2");
    assert_eq!(pod.runtime_class_name.as_deref(), Some("gvisor"));
    assert_eq!(pod.priority_class_name.as_deref(), Some("low"));
    assert_eq!(pod.dns_policy.as_deref(), Some("None"));
    assert!(pod.affinity.is_some());
    let resources = container(&objects).resources.as_ref().unwrap();
    let (limits, requests) = (resources.limits.as_ref().unwrap(), resources.requests.as_ref().unwrap());
    assert_eq!((limits["memory"].0.as_str(), limits["example.com/gpu"].0.as_str()), ("64Mi", "1"));
    assert_eq!(requests["cpu"].0, "70m");
    let strategy = objects.deployment.spec.as_ref().unwrap().strategy.as_ref().unwrap();
    assert_eq!(strategy.type_.as_deref(), Some("Recreate"));
    let names: Vec<_> = objects.profiles.iter().map(|applied| applied.profile_ref.name.as_str()).collect();
    assert_eq!(names, ["first", "second"]);

    let missing = in_world(annotated(json!({"com.openfaas.profile": "first,third"})), &world).unwrap_err();
    assert_eq!(missing.reason(), "ProfileMissing");
    assert!(missing.to_string().starts_with("profile third is not in namespace openfaas"), "{missing}");
}
