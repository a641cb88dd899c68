//! A message as it waits: what it is, its id, its body.

/// What a message tells; the last part of its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Newest values.
    Metrics,
    /// What the host is made of.
    Inventory,
}

impl What {
    /// Last part of the subject.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Inventory => "inventory",
        }
    }

    /// The way back.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Metrics, Self::Inventory].into_iter().find(|what| what.name() == name)
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Unlike that of any other message of any host, and the same at each try.
    pub id: String,
    /// Whether `body` is compressed with zstd.
    pub zstd: bool,
    /// JSON, compressed or not.
    pub body: Vec<u8>,
}

/// What is told at one moment: at least one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// What its messages tell.
    pub what: What,
    /// In order.
    pub messages: Vec<Message>,
}

impl Round {
    /// Bytes of all bodies.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.body.len()).sum()
    }
}
