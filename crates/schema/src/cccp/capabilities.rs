//! What a deployment can do: `getConferencingCapabilities` and `getAvailableMcuTypes`
//! (MS-CONFPRO §2.2.3.8, §2.2.2.7).

use serde::{Deserialize, Serialize};

use super::NAMESPACE;
use crate::{
    conference_info::{parse_number, part, parts},
    uri::McuType,
    xml::{Element, Malformed, Writer},
};

/// What the Focus Factory offers. Dial-in numbers are absent: nothing answers at one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Rises when the capabilities change.
    pub version: u32,
    /// The media a conference can be scheduled with.
    pub mcu_types: Vec<McuType>,
}

impl Capabilities {
    pub(super) fn read(element: &Element) -> Result<Option<Capabilities>, Malformed> {
        let Some(mcu_types) = read_mcu_types(element) else { return Ok(None) };
        let version = element.attr("capability-version");
        let version = version.map_or(Ok(0), |version| parse_number(version, "capability-version"))?;
        Ok(Some(Capabilities { version, mcu_types }))
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.attribute("capability-version", &self.version.to_string());
        write_mcu_types(writer, &self.mcu_types);
    }
}

/// Types that are not known are left out.
pub(super) fn read_mcu_types(element: &Element) -> Option<Vec<McuType>> {
    let types = parts(part(element, "mcu-types")?, "mcuType");
    Some(types.filter_map(|word| McuType::parse(&word.text()).ok()).collect())
}

pub(super) fn write_mcu_types(writer: &mut Writer, types: &[McuType]) {
    writer.start(NAMESPACE, "mcu-types");
    types.iter().for_each(|media| writer.leaf(NAMESPACE, "mcuType", media.as_str()));
    writer.end();
}
