//! Promises about namespaces.

use super::{Promise, Trial, map, namespace, refused};
use wire::DEFAULT_NAMESPACE;
use wire::function::FunctionDeployment;
use wire::namespace::Namespace;

/// Nobody has to make the default namespace.
pub async fn the_default_namespace_is_there(trial: &Trial) -> Promise {
    let namespaces = trial.provider.namespaces().await?;
    assert_eq!(namespaces.iter().map(|namespace| namespace.name.as_str()).collect::<Vec<_>>(), [DEFAULT_NAMESPACE]);
    refused!(trial.provider.create_namespace(namespace(DEFAULT_NAMESPACE)).await, Exists);
    Ok(())
}

/// A namespace is as it was made, then as it was updated, and cannot be made twice.
pub async fn a_namespace_keeps_labels_and_annotations(trial: &Trial) -> Promise {
    let found = async |name: &str| {
        let all = trial.provider.namespaces().await.unwrap();
        all.into_iter().find(|namespace| namespace.name == name)
    };
    let mut shop = namespace("shop");
    shop.labels.append(&mut map([("tier", "dev")]));
    trial.provider.create_namespace(shop.clone()).await?;
    assert_eq!(found("shop").await, Some(shop.clone()));
    shop.annotations.append(&mut map([("owner", "ops")]));
    shop.labels.remove("tier");
    trial.provider.update_namespace(shop.clone()).await?;
    assert_eq!(found("shop").await, Some(shop));
    refused!(trial.provider.create_namespace(namespace("shop")).await, Exists);
    trial.provider.delete_namespace("shop").await?;
    assert_eq!(found("shop").await, None);
    Ok(())
}

/// Functions of one name live beside each other in two namespaces.
pub async fn namespaces_keep_functions_apart(trial: &Trial) -> Promise {
    trial.provider.create_namespace(namespace("shop")).await?;
    trial.deployed("hello").await;
    let other = FunctionDeployment { namespace: "shop".to_owned(), ..trial.deployment("hello") };
    trial.provider.deploy(other).await?;
    trial.provider.delete(&"hello".parse().unwrap(), false).await?;
    assert!(trial.names(DEFAULT_NAMESPACE).await.is_empty());
    assert_eq!(trial.names("shop").await, ["hello"]);
    assert_eq!(trial.provider.status(&"hello.shop".parse().unwrap(), false).await?.namespace, "shop");
    Ok(())
}

/// What is not there is neither listed, updated, removed nor deployed to.
pub async fn unknown_namespaces_are_refused(trial: &Trial) -> Promise {
    refused!(trial.provider.list("nope").await, NoNamespace);
    refused!(trial.provider.secrets("nope").await, NoNamespace);
    refused!(trial.provider.create_secret("nope", "a", Vec::new()).await, NoNamespace);
    refused!(trial.provider.update_namespace(namespace("nope")).await, NoNamespace);
    refused!(trial.provider.delete_namespace("nope").await, NoNamespace);
    let lost = FunctionDeployment { namespace: "nope".to_owned(), ..trial.deployment("lost") };
    refused!(trial.provider.deploy(lost).await, NoNamespace);
    refused!(trial.provider.status(&"lost.nope".parse().unwrap(), false).await, NoFunction);
    Ok(())
}

/// A name that could leave its directory, or is no DNS label, is refused wherever it is given.
pub async fn bad_namespace_names_are_refused(trial: &Trial) -> Promise {
    let long = "x".repeat(300);
    for bad in ["", ".", "..", "../x", "a/b", "Upper", "a.b", "-a", long.as_str()] {
        refused!(trial.provider.create_namespace(Namespace { name: bad.to_owned(), ..namespace("x") }).await, Invalid);
        refused!(trial.provider.update_namespace(Namespace { name: bad.to_owned(), ..namespace("x") }).await, Invalid);
        refused!(trial.provider.delete_namespace(bad).await, Invalid);
        refused!(trial.provider.list(bad).await, Invalid);
        refused!(trial.provider.secrets(bad).await, Invalid);
        refused!(trial.provider.create_secret(bad, "a", Vec::new()).await, Invalid);
    }
    Ok(())
}

/// Nobody removes the default namespace, with functions or without.
pub async fn the_default_namespace_stays(trial: &Trial) -> Promise {
    refused!(trial.provider.delete_namespace(DEFAULT_NAMESPACE).await, Conflict);
    trial.deployed("hello").await;
    refused!(trial.provider.delete_namespace(DEFAULT_NAMESPACE).await, Conflict);
    assert_eq!(trial.names(DEFAULT_NAMESPACE).await, ["hello"]);
    Ok(())
}

/// A namespace is removed after its last function.
pub async fn a_namespace_with_functions_stays(trial: &Trial) -> Promise {
    trial.provider.create_namespace(namespace("shop")).await?;
    let sold = FunctionDeployment { namespace: "shop".to_owned(), ..trial.deployment("sold") };
    trial.provider.deploy(sold).await?;
    refused!(trial.provider.delete_namespace("shop").await, Conflict);
    assert_eq!(trial.names("shop").await, ["sold"]);
    trial.provider.delete(&"sold.shop".parse().unwrap(), false).await?;
    trial.provider.delete_namespace("shop").await?;
    refused!(trial.provider.list("shop").await, NoNamespace);
    Ok(())
}

/// A namespace of the same name made later starts empty.
pub async fn a_removed_namespace_takes_its_secrets_along(trial: &Trial) -> Promise {
    trial.provider.create_namespace(namespace("shop")).await?;
    trial.provider.create_secret("shop", "key", b"old".to_vec()).await?;
    trial.provider.delete_namespace("shop").await?;
    trial.provider.create_namespace(namespace("shop")).await?;
    assert!(trial.provider.secrets("shop").await?.is_empty());
    Ok(())
}
