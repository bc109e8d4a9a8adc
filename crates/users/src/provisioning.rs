//! What a client is told about its server and its rights when it signs in (MS-SIPREGE, in-band
//! provisioning). Only what is true is told: there is no address of a media relay, since there is
//! none.

use bytes::Bytes;
use confab_schema::{
    provisioning::{Group, GroupList, GroupRequest, Settings},
    uri::{FactoryUri, UserUri},
};

/// The rights in conferences that are told to clients, which hide what they may not do.
// Deviation: the names of the properties are recalled from other products, not from a specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeetingPolicy {
    /// The most participants of a conference.
    pub meeting_size: u32,
    /// Whether conferences have audio.
    pub audio: bool,
    /// Whether conferences have video.
    pub video: bool,
    /// Whether conferences have slides and whiteboards.
    pub data_collaboration: bool,
    /// Whether screens can be shared in conferences.
    pub application_sharing: bool,
}

/// The groups this server knows, in the order of its answer.
const GROUPS: [&str; 3] = ["ServerConfiguration", "meetingPolicy", "ucPolicy"];

/// The groups of `request` that this server knows, for `user`.
pub(crate) fn answer(user: &UserUri, policy: &MeetingPolicy, request: &GroupRequest) -> Bytes {
    let known = GROUPS.iter().filter(|name| request.groups.iter().any(|asked| asked == *name));
    let groups = known.map(|name| {
        let settings = match *name {
            "ServerConfiguration" => {
                let factory = FactoryUri::of(user.clone()).to_string();
                Settings::Elements(vec![("focusFactoryUri".to_owned(), factory)])
            }
            "meetingPolicy" => Settings::Properties(policy.properties()),
            _ => Settings::Properties(Vec::new()),
        };
        Group { name: (*name).to_owned(), settings }
    });
    GroupList { groups: groups.collect() }.to_bytes()
}

/// The request of a client that names no group: all there are.
pub(crate) fn everything() -> GroupRequest {
    GroupRequest { groups: GROUPS.map(str::to_owned).to_vec() }
}

impl MeetingPolicy {
    fn properties(&self) -> Vec<(String, String)> {
        let properties = [
            ("MeetingSize", self.meeting_size.to_string()),
            ("AllowIPAudio", self.audio.to_string()),
            ("AllowIPVideo", self.video.to_string()),
            ("EnableDataCollaboration", self.data_collaboration.to_string()),
            ("AllowAppSharing", self.application_sharing.to_string()),
        ];
        properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_and_known() {
        let ann = UserUri::parse("sip:ann@example.test").unwrap();
        let policy = MeetingPolicy {
            meeting_size: 250,
            audio: false,
            video: false,
            data_collaboration: false,
            application_sharing: false,
        };
        let check = |groups: &[&str], expect: &str| {
            let request = GroupRequest { groups: groups.iter().map(|name| (*name).to_owned()).collect() };
            let answer = String::from_utf8(answer(&ann, &policy, &request).to_vec()).unwrap();
            assert_eq!(answer, expect);
        };
        let ns = "http://schemas.microsoft.com/2006/09/sip/provisiongrouplist-notification";
        check(
            &["ServerConfiguration", "persistentChatConfiguration"],
            &format!(
                "<provisionGroupList xmlns=\"{ns}\"><provisionGroup name=\"ServerConfiguration\"><focusFactoryUri>\
                 sip:ann@example.test;gruu;opaque=app:conf:focusfactory</focusFactoryUri></provisionGroup>\
                 </provisionGroupList>"
            ),
        );
        check(&[], &format!("<provisionGroupList xmlns=\"{ns}\"/>"));
        let all = String::from_utf8(super::answer(&ann, &policy, &everything()).to_vec()).unwrap();
        assert!(all.contains("<property name=\"MeetingSize\">250</property>"), "{all}");
        assert!(all.contains("<provisionGroup name=\"ucPolicy\"><instance/></provisionGroup>"), "{all}");
        assert!(!all.contains("mras"), "{all}");
    }
}
