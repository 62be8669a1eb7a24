//! The software bill of materials, in the format CycloneDX.

use std::{collections::BTreeSet, str::FromStr};

use anyhow::{Result, anyhow, ensure};
use cyclonedx_bom::{
    models::{
        component::Classification,
        license::{LicenseChoice, Licenses},
    },
    prelude::{Bom, Component, Components, Metadata, Purl, SpdxExpression, SpecVersion, Validate},
};

use crate::{dependencies::Dependency, executable};

const VERSION: SpecVersion = SpecVersion::V1_5;

/// Returns the bill of materials of the executable as JSON. It has neither a time nor a random
/// number, so it is the same for equal builds.
pub fn json(dependencies: &BTreeSet<Dependency>) -> Result<Vec<u8>> {
    let program = Component::new(Classification::Application, executable::NAME, env!("CARGO_PKG_VERSION"), None);
    let components = dependencies.iter().map(component).collect::<Result<_>>()?;
    let bom = Bom {
        serial_number: None,
        metadata: Some(Metadata { component: Some(program), ..Metadata::default() }),
        components: Some(Components(components)),
        spec_version: VERSION,
        ..Bom::default()
    };
    let validation = bom.validate_version(VERSION);
    ensure!(validation.passed(), "the bill of materials is invalid: {validation:?}");
    let mut json = Vec::new();
    bom.output_as_json(&mut json, VERSION)?;
    Ok(json)
}

fn component(dependency: &Dependency) -> Result<Component> {
    let Dependency { ecosystem, name, version, license, .. } = dependency;
    // A plus sign has to be escaped in the version of a package URL.
    let purl = format!("pkg:{ecosystem}/{name}@{}", version.replace('+', "%2B"));
    let mut component = Component::new(Classification::Library, name, version, Some(purl.clone()));
    component.purl = Some(Purl::from_str(&purl).map_err(|()| anyhow!("{purl} is not a package URL"))?);
    if let Some(license) = license {
        let expression = SpdxExpression::parse_lax(license.clone())?;
        component.licenses = Some(Licenses(vec![LicenseChoice::Expression(expression)]));
    }
    Ok(component)
}
