use hickory_resolver::config::ResolverConfig;
use hickory_resolver::proto::rr::Name;

/// The full names that a name may mean, in the order in which they are looked up, as resolv.conf(5) has it: a name that does not end with a
/// dot is also looked for in the domains of the configuration, and first there if it has fewer than `ndots` dots.
///
/// hickory has such a list too, and returns the outcome of its last name. A failure for a name before that would be lost.
pub(super) fn full_names(name: Name, config: &ResolverConfig, ndots: usize) -> Vec<Name> {
    if name.is_fqdn() {
        return vec![name];
    }
    let raw_first = usize::from(name.num_labels()) > ndots || name.is_localhost();
    let mut raw = name.clone();
    raw.set_fqdn(true);
    let domains = config.domain().into_iter().chain(config.search());
    // A name that would be too long is left out.
    let searched = domains.filter_map(|domain| name.clone().append_domain(domain).ok());
    let mut names = Vec::new();
    for name in raw_first.then_some(raw.clone()).into_iter().chain(searched).chain((!raw_first).then_some(raw)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_search_list() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let domains = vec![name("a.test."), name("b.test."), name("a.test.")];
        let config = ResolverConfig::from_parts(Some(name("own.test.")), domains, Vec::new());
        for (searched, ndots, expected) in [
            ("gpu.test.", 5, &["gpu.test."] as &[_]),
            ("gpu", 1, &["gpu.own.test.", "gpu.a.test.", "gpu.b.test.", "gpu."]),
            ("gpu.svc", 1, &["gpu.svc.", "gpu.svc.own.test.", "gpu.svc.a.test.", "gpu.svc.b.test."]),
            ("gpu.svc", 5, &["gpu.svc.own.test.", "gpu.svc.a.test.", "gpu.svc.b.test.", "gpu.svc."]),
        ] {
            let names: Vec<_> = full_names(name(searched), &config, ndots).iter().map(Name::to_string).collect();
            assert_eq!(names, expected, "{searched} {ndots}");
        }
    }
}
