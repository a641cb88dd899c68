//! Prints pages: each once for one state of the values, however many ask, into buffers that are used again.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::sync::{mpsc, oneshot};

use super::accept::Format;
use super::prometheus::{self, Manner};
use crate::push::object::{self, About};
use crate::sample::newest::Newest;

/// How pages look.
#[derive(Clone, Debug, Default)]
pub struct Style {
    /// For Prometheus.
    pub manner: Manner,
    /// For JSON.
    pub about: About,
}

/// Somebody wants a page.
pub(super) struct Wish {
    pub(super) format: Format,
    pub(super) done: oneshot::Sender<Bytes>,
}

/// A page and what it was made of.
struct Printed {
    of: Arc<Newest>,
    text: Arc<String>,
}

/// A buffer that may be sent and printed again.
struct Shared(Arc<String>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Owns the pages.
pub(super) struct Press {
    newest: watch::Receiver<Arc<Newest>>,
    style: Style,
    pages: [Option<Printed>; Format::ALL.len()],
}

impl Press {
    pub(super) fn new(newest: watch::Receiver<Arc<Newest>>, style: Style) -> Self {
        Self { newest, style, pages: [const { None }; Format::ALL.len()] }
    }

    /// Prints until nobody can ask any more.
    pub(super) async fn run(mut self, mut wishes: mpsc::Receiver<Wish>) {
        while let Some(Wish { format, done }) = wishes.recv().await {
            // Who asked may have gone.
            let _ = done.send(self.page(format));
        }
    }

    fn page(&mut self, format: Format) -> Bytes {
        // The lock is held for no longer than it takes to count one more owner.
        let newest = Arc::clone(&self.newest.borrow());
        let Self { style, pages, .. } = self;
        let page = pages[format as usize]
            .get_or_insert_with(|| Printed { of: Arc::default(), text: Arc::default() });
        if !Arc::ptr_eq(&page.of, &newest) {
            // Somebody may still be sent the old one: then the new one gets a buffer of its own.
            if Arc::get_mut(&mut page.text).is_none() {
                page.text = Arc::new(String::with_capacity(page.text.len()));
            }
            if let Some(text) = Arc::get_mut(&mut page.text) {
                match format {
                    Format::Json => object::render(&newest, &style.about, text),
                    Format::Text | Format::OpenMetrics => {
                        prometheus::render(&newest, &style.manner, format, text);
                    }
                }
            }
            page.of = newest;
        }
        Bytes::from_owner(Shared(Arc::clone(&page.text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Now;

    fn at(secs: u64) -> Arc<Newest> {
        let mut newest = Newest::default();
        newest.begin(Now::default().plus_secs(secs));
        Arc::new(newest)
    }

    #[test]
    fn a_page_is_printed_once_and_its_buffer_used_again() {
        let (sender, newest) = watch::channel(at(1));
        let mut press = Press::new(newest, Style::default());
        let place = |page: &Bytes| page.as_ptr().addr();
        let first = press.page(Format::Json);
        let second = press.page(Format::Json);
        assert_eq!((place(&first), first.len()), (place(&second), second.len()), "nothing changed");
        assert!(first.starts_with(b"{\"timestamp\":1,"), "{first:?}");
        sender.send_replace(at(2));
        let third = press.page(Format::Json);
        assert_ne!(place(&first), place(&third), "the first is still being sent");
        assert!(first.starts_with(b"{\"timestamp\":1,") && third.starts_with(b"{\"timestamp\":2,"));
        let before = place(&third);
        drop((first, second, third));
        sender.send_replace(at(3));
        let fourth = press.page(Format::Json);
        assert_eq!(place(&fourth), before);
        assert!(fourth.starts_with(b"{\"timestamp\":3,"));
        assert_eq!(press.page(Format::OpenMetrics), "# EOF\n");
        assert_eq!(press.page(Format::Text), "");
    }
}
