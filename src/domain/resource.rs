//! Protected resources that tokens are issued for (RFC 8707).

use crate::domain::Scope;

/// One registered resource server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The operator's short name for it.
    pub id: String,
    /// Its public base URL.
    pub url: String,
    /// What access tokens for it carry in `aud`.
    pub audience: String,
    /// The scope tokens that it owns.
    pub scopes: Scope,
}

/// All registered resources and the audience of tokens that belong to none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    entries: Vec<Resource>,
    default_audience: String,
}

/// What one access token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The `aud` values, at least one, no two equal.
    pub audience: Vec<String>,
    /// The scope that means something there.
    pub scope: Scope,
}

/// The request names a resource that is not registered, or that the grant does not cover (`invalid_target`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the requested resource is unknown or not covered by the grant")]
pub struct InvalidTarget;

impl Resources {
    /// The registry.
    pub fn new(entries: Vec<Resource>, default_audience: String) -> Self {
        Self { entries, default_audience }
    }

    /// The registered resources.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.entries.iter()
    }

    /// The resource with this `id`.
    pub fn by_id(&self, id: &str) -> Option<&Resource> {
        self.entries.iter().find(|resource| resource.id == id)
    }

    /// What of `scope` concerns `resource` alone: the scope tokens that it owns; where it owns none, those that nobody owns.
    pub fn concerning(&self, resource: &Resource, scope: &Scope) -> Scope {
        let nobodys = |token: &str| self.entries.iter().all(|other| !other.scopes.contains(token));
        scope.iter().filter(|token| if resource.scopes.is_empty() { nobodys(token) } else { resource.scopes.contains(token) }).collect()
    }

    /// Chooses audience and scope of an access token.
    ///
    /// `requested` are the `resource` parameters of this request, `granted` those of the grant; both name a resource by its `url`
    /// or its `audience`. Without either, the audiences are those of the resources that own the scope, else the default one.
    /// A scope token that only a resource outside the chosen ones owns is left out.
    ///
    /// # Errors
    /// [`InvalidTarget`] for an unknown resource and for one outside a grant that is limited to others.
    pub fn target(&self, requested: &[String], granted: &[String], scope: &Scope) -> Result<Target, InvalidTarget> {
        let granted = self.find_all(granted)?;
        let requested = self.find_all(requested)?;
        if !granted.is_empty() && requested.iter().any(|one| !granted.contains(one)) {
            return Err(InvalidTarget);
        }
        let chosen = if requested.is_empty() { granted } else { requested };
        if chosen.is_empty() {
            return Ok(self.by_scope(scope));
        }
        let kept = scope.iter().filter(|token| {
            let mut owners = self.entries.iter().filter(|resource| resource.scopes.contains(token)).peekable();
            owners.peek().is_none() || owners.any(|owner| chosen.contains(&owner))
        });
        Ok(Target { audience: audiences(chosen.iter().copied()), scope: kept.collect() })
    }

    /// Whether a location (RFC 9396 section 2.2) is served by one of these audiences: it is the audience itself, or it lies at or below
    /// the URL of a resource with that audience. A location that no registered resource claims belongs to the default audience.
    pub fn serve(&self, location: &str, audience: &[String]) -> bool {
        let mut owners = self.entries.iter().filter(|one| one.audience == location || is_at_or_below(location, &one.url)).peekable();
        let unclaimed = owners.peek().is_none();
        audience.iter().any(|one| one == location)
            || (unclaimed && audience.contains(&self.default_audience))
            || owners.any(|owner| audience.contains(&owner.audience))
    }

    fn by_scope(&self, scope: &Scope) -> Target {
        let owners = self.entries.iter().filter(|resource| resource.scopes.iter().any(|token| scope.contains(token)));
        let mut audience = audiences(owners);
        if audience.is_empty() {
            audience.push(self.default_audience.clone());
        }
        Target { audience, scope: scope.clone() }
    }

    fn find_all(&self, names: &[String]) -> Result<Vec<&Resource>, InvalidTarget> {
        names.iter().map(|name| self.entries.iter().find(|one| one.url == *name || one.audience == *name).ok_or(InvalidTarget)).collect()
    }
}

/// Whether a URL lies at or below another one; the match ends at a segment.
fn is_at_or_below(url: &str, base: &str) -> bool {
    url.strip_prefix(base).is_some_and(|rest| rest.is_empty() || base.ends_with('/') || rest.starts_with(['/', '?']))
}

fn audiences<'a>(resources: impl Iterator<Item = &'a Resource>) -> Vec<String> {
    let mut audiences: Vec<String> = Vec::new();
    for resource in resources {
        if !audiences.contains(&resource.audience) {
            audiences.push(resource.audience.clone());
        }
    }
    audiences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources() -> Resources {
        let resource = |id: &str, scopes: &str| Resource {
            id: id.into(),
            url: format!("https://{id}.example.com/api"),
            audience: format!("urn:{id}"),
            scopes: Scope::parse(scopes).expect("a scope"),
        };
        Resources::new(
            vec![resource("accounts", "accounts shared"), resource("payments", "payments shared")],
            "https://as.example.com".into(),
        )
    }

    fn scope(text: &str) -> Scope {
        Scope::parse(text).expect("a scope")
    }

    /// AT-04
    #[test]
    fn without_a_resource_the_owners_of_the_scope_are_the_audience() {
        let target = resources().target(&[], &[], &scope("accounts openid")).expect("a target");
        assert_eq!(target, Target { audience: vec!["urn:accounts".into()], scope: scope("accounts openid") });
        let target = resources().target(&[], &[], &scope("openid")).expect("a target");
        assert_eq!(target.audience, ["https://as.example.com"]);
    }

    /// AT-05
    #[test]
    fn a_resource_is_named_by_url_or_audience_and_keeps_only_its_scope() {
        for name in ["https://payments.example.com/api", "urn:payments"] {
            let target = resources().target(&[name.into()], &[], &scope("accounts payments shared openid")).expect("a target");
            assert_eq!(target, Target { audience: vec!["urn:payments".into()], scope: scope("payments shared openid") });
        }
    }

    /// INT-06
    #[test]
    fn a_resource_is_told_of_its_own_scope_only() {
        let mut resources = resources();
        resources.entries.push(Resource { id: "open".into(), scopes: Scope::default(), ..resources.entries[0].clone() });
        let told = |id: &str| resources.concerning(resources.by_id(id).expect("a resource"), &scope("accounts openid payments shared"));
        assert_eq!(told("accounts"), scope("accounts shared"));
        assert_eq!(told("payments"), scope("payments shared"));
        assert_eq!(told("open"), scope("openid"));
        assert_eq!(resources.by_id("nobody"), None);
    }

    #[test]
    fn a_resource_outside_the_grant_is_refused_and_one_inside_is_not() {
        let granted = ["urn:accounts".to_owned()];
        assert_eq!(resources().target(&["urn:payments".into()], &granted, &scope("accounts")), Err(InvalidTarget));
        assert_eq!(resources().target(&["urn:nobody".into()], &[], &scope("accounts")), Err(InvalidTarget));
        let target = resources().target(&["https://accounts.example.com/api".into()], &granted, &scope("accounts")).expect("a target");
        assert_eq!(target.audience, ["urn:accounts"]);
    }

    /// RAR-08
    #[test]
    fn a_location_is_served_by_the_resource_it_lies_below() {
        let served = |location: &str, audience: &str| resources().serve(location, &[audience.to_owned()]);
        for location in ["https://accounts.example.com/api", "https://accounts.example.com/api/v1", "urn:accounts"] {
            assert!(served(location, "urn:accounts") && !served(location, "urn:payments"), "{location}");
            assert!(!served(location, "https://as.example.com"), "{location}");
        }
        let elsewhere = "https://accounts.example.com/apix";
        assert!(!served(elsewhere, "urn:accounts") && served(elsewhere, "https://as.example.com"));
    }
}
