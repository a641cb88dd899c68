//! Whose a control group is (stand-in until the watch branch is merged).
#[derive(Clone, Debug, Default)]
pub struct Owner {
    pub unit: Option<String>,
    pub container: Option<Container>,
    pub pod_uid: Option<String>,
}
#[derive(Clone, Debug)]
pub struct Container {
    pub runtime: &'static str,
    pub id: String,
}
impl Container {
    pub fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}
impl Owner {
    pub fn of(_p: &str) -> Self {
        Self::default()
    }
}
