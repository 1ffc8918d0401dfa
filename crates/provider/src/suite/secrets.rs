//! Promises about secrets.

use super::{Promise, Trial, namespace, refused};
use wire::DEFAULT_NAMESPACE;
use wire::function::FunctionDeployment;

/// Names come sorted, and only those of the namespace asked for.
pub async fn secrets_are_listed_by_name_and_apart(trial: &Trial) -> Promise {
    assert!(trial.provider.secrets(DEFAULT_NAMESPACE).await?.is_empty());
    trial.provider.create_namespace(namespace("shop")).await?;
    for name in ["extra", "api-key", "db.password"] {
        trial.provider.create_secret(DEFAULT_NAMESPACE, name, vec![0, 255, b'\n']).await?;
    }
    trial.provider.create_secret("shop", "api-key", Vec::new()).await?;
    assert_eq!(trial.provider.secrets(DEFAULT_NAMESPACE).await?, ["api-key", "db.password", "extra"]);
    trial.provider.delete_secret(DEFAULT_NAMESPACE, "api-key").await?;
    assert_eq!(trial.provider.secrets(DEFAULT_NAMESPACE).await?, ["db.password", "extra"]);
    assert_eq!(trial.provider.secrets("shop").await?, ["api-key"]);
    Ok(())
}

/// A secret is made once and then updated.
pub async fn an_existing_secret_is_not_made_again(trial: &Trial) -> Promise {
    trial.provider.create_secret(DEFAULT_NAMESPACE, "api-key", b"one".to_vec()).await?;
    refused!(trial.provider.create_secret(DEFAULT_NAMESPACE, "api-key", b"two".to_vec()).await, Exists);
    trial.provider.update_secret(DEFAULT_NAMESPACE, "api-key", b"three".to_vec()).await?;
    assert_eq!(trial.provider.secrets(DEFAULT_NAMESPACE).await?, ["api-key"]);
    Ok(())
}

/// What is not there is neither updated nor deleted.
pub async fn unknown_secrets_are_refused(trial: &Trial) -> Promise {
    refused!(trial.provider.update_secret(DEFAULT_NAMESPACE, "nope", Vec::new()).await, NoSecret);
    refused!(trial.provider.delete_secret(DEFAULT_NAMESPACE, "nope").await, NoSecret);
    assert!(trial.provider.secrets(DEFAULT_NAMESPACE).await?.is_empty());
    Ok(())
}

/// A name that could leave its directory is refused by every call.
pub async fn bad_secret_names_are_refused(trial: &Trial) -> Promise {
    let long = "x".repeat(300);
    for bad in ["", ".", "..", "../x", "a/b", "Upper", "a..b", long.as_str()] {
        refused!(trial.provider.create_secret(DEFAULT_NAMESPACE, bad, Vec::new()).await, Invalid);
        refused!(trial.provider.update_secret(DEFAULT_NAMESPACE, bad, Vec::new()).await, Invalid);
        refused!(trial.provider.delete_secret(DEFAULT_NAMESPACE, bad).await, Invalid);
    }
    assert!(trial.provider.secrets(DEFAULT_NAMESPACE).await?.is_empty());
    Ok(())
}

/// A function whose secret is missing is refused, naming the secret; another namespace's secret does not help.
pub async fn a_missing_secret_refuses_the_deployment(trial: &Trial) -> Promise {
    trial.provider.create_namespace(namespace("shop")).await?;
    trial.provider.create_secret("shop", "api-key", b"x".to_vec()).await?;
    let wanted = FunctionDeployment { secrets: vec!["api-key".to_owned()], ..trial.deployment("needy") };
    let error = trial.provider.deploy(wanted.clone()).await.unwrap_err();
    assert!(error.to_string().contains("api-key"), "{error}");
    refused!(Err::<(), _>(error), Invalid);
    trial.provider.create_secret(DEFAULT_NAMESPACE, "api-key", b"x".to_vec()).await?;
    trial.provider.deploy(wanted).await?;
    Ok(())
}

/// A secret goes after the last function that mounts it, or after that was deployed without it.
pub async fn a_mounted_secret_stays(trial: &Trial) -> Promise {
    trial.provider.create_secret(DEFAULT_NAMESPACE, "api-key", b"x".to_vec()).await?;
    let mounting = FunctionDeployment { secrets: vec!["api-key".to_owned()], ..trial.deployment("needy") };
    trial.provider.deploy(mounting).await?;
    let error = trial.provider.delete_secret(DEFAULT_NAMESPACE, "api-key").await.unwrap_err();
    assert!(error.to_string().contains("needy"), "{error}");
    refused!(Err::<(), _>(error), Conflict);
    assert_eq!(trial.provider.secrets(DEFAULT_NAMESPACE).await?, ["api-key"]);
    trial.provider.update(trial.deployment("needy")).await?;
    trial.provider.delete_secret(DEFAULT_NAMESPACE, "api-key").await?;
    Ok(())
}
