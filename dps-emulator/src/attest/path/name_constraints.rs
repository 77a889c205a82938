//! Name constraints on the common name of a device, which is its identity. webpki applies them to the alternative names only.

use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{NameConstraints, SubjectAltName};

use crate::attest::chain_error::{ChainError, ChainRule};
use crate::certificate::Certificate;

/// Requires that the issuers may issue the common name, if it is a DNS name and the certificate has no alternative DNS name.
///
/// OpenSSL has the same rule (`NAME_CONSTRAINTS_check_CN`).
pub(super) fn check_common_name<'a>(
    leaf: &Certificate,
    issuers: impl Iterator<Item = &'a Certificate>,
) -> Result<(), ChainError> {
    let mut constrained = issuers.filter(|it| it.has_name_constraints()).peekable();
    let name = leaf.common_name().filter(|name| is_dns_name(name));
    let (Some(_), Some(name)) = (constrained.peek(), name) else {
        return Ok(());
    };
    if has_dns_name(leaf) {
        return Ok(());
    }
    match constrained.find(|issuer| !may_issue(issuer, name)) {
        None => Ok(()),
        Some(issuer) => Err(ChainError::new(
            ChainRule::NotPermitted,
            format!(
                "the name constraints of '{}' do not allow the common name '{name}'",
                issuer.subject()
            ),
        )),
    }
}

fn has_dns_name(leaf: &Certificate) -> bool {
    let names = leaf.extension::<SubjectAltName>();
    names.is_some_and(|names| {
        let mut names = names.0.iter();
        names.any(|name| matches!(name, GeneralName::DnsName(_)))
    })
}

fn may_issue(issuer: &Certificate, name: &str) -> bool {
    let Some(constraints) = issuer.extension::<NameConstraints>() else {
        return false;
    };
    let permitted = dns_bases(constraints.permitted_subtrees);
    let excluded = dns_bases(constraints.excluded_subtrees);
    let is_within = |base: &String| is_within(name, base);
    (permitted.is_empty() || permitted.iter().any(is_within)) && !excluded.iter().any(is_within)
}

fn dns_bases(subtrees: Option<Vec<GeneralSubtree>>) -> Vec<String> {
    let bases = subtrees.into_iter().flatten().map(|subtree| subtree.base);
    let names = bases.filter_map(|base| match base {
        GeneralName::DnsName(name) => Some(name.to_string()),
        _ => None,
    });
    names.collect()
}

/// RFC 5280, 4.2.1.10: the base, or labels in front of it.
fn is_within(name: &str, base: &str) -> bool {
    let Some(at) = name.len().checked_sub(base.len()) else {
        return false;
    };
    let (Some(head), Some(tail)) = (name.get(..at), name.get(at..)) else {
        return false;
    };
    tail.eq_ignore_ascii_case(base)
        && (base.is_empty() || base.starts_with('.') || head.is_empty() || head.ends_with('.'))
}

/// Labels of letters, digits, `-` and `_`, at least two, and none with `-` at its start or end, as OpenSSL recognizes a DNS name.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.contains('.') && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_is_the_base_and_the_names_below_it() {
        for (name, base, expected) in [
            ("contoso.com", "contoso.com", true),
            ("dev-1.CONTOSO.com", "contoso.com", true),
            ("evilcontoso.com", "contoso.com", false),
            ("contoso.com.evil", "contoso.com", false),
            ("com", "contoso.com", false),
            ("dev-1.contoso.com", ".contoso.com", true),
            ("contoso.com", ".contoso.com", false),
            ("contoso.com", "", true),
        ] {
            assert_eq!(is_within(name, base), expected, "{name} {base}");
        }
    }

    #[test]
    fn a_dns_name_has_two_labels() {
        for name in ["contoso.com", "dev-1.a_b.c", "dev--1._b.c_"] {
            assert!(is_dns_name(name), "{name}");
        }
        for name in [
            "dev-1", ".com", "a..b", "a.", "a:b.c", "-a.b", "a-.b", "a.-b", "a.b-", "-.b",
        ] {
            assert!(!is_dns_name(name), "{name}");
        }
    }
}
