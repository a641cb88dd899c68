//! What a section is. One [`section!`] declaration makes the struct, its defaults, its reader and its
//! rows in the table of keys, so that none of them can disagree.

use super::must::Must;

/// One key of a section, or a section within it.
pub(super) struct Key {
    /// Name in the file, and of the field.
    pub name: &'static str,
    /// Doc comment.
    pub doc: &'static str,
    /// What a value must be beyond its type.
    pub must: Must,
    /// Feature this key belongs to while that is not built.
    pub later: Option<&'static str>,
    /// Cargo feature without which it has no effect.
    pub feature: Option<&'static str>,
    /// What may be written, in words.
    pub form: fn(&Must) -> String,
    /// Default as TOML; empty where there is none.
    pub default: fn() -> String,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Set for a table, or a list of tables, of our own.
    pub section: Option<&'static Spec>,
    /// Whether `section` is written `[[…]]`, any number of times.
    pub list: bool,
}

/// One section.
pub(super) struct Spec {
    /// Doc comment.
    pub doc: &'static str,
    /// Feature the whole section belongs to while that is not built.
    pub later: Option<&'static str>,
    /// Cargo feature without which it has no effect.
    pub feature: Option<&'static str>,
    /// Keys without which it is not complete.
    pub needs: &'static [&'static str],
    /// All its keys and sections, in the order of the documentation.
    pub keys: &'static [Key],
}

impl Spec {
    /// The key of that name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Calls `visit` with every section below this one and its path, parents first.
    pub(super) fn walk(&'static self, path: &str, visit: &mut dyn FnMut(&str, &'static Key, &'static Self)) {
        for key in self.keys {
            if let Some(section) = key.section {
                let below =
                    if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
                visit(&below, key, section);
                section.walk(&below, visit);
            }
        }
    }
}

/// Declares a section:
///
/// ```text
/// section! {
///     /// What it is for.
///     pub struct Name, later "feature", feature "cargo feature", needs ["key"], check function {
///         /// What the key means.
///         key: Type = default => Must::…, later "feature", feature "cargo feature";
///     }
/// }
/// ```
///
/// Everything after the type or the name may be left out. Deleting the `later` marker is all it takes
/// to say that a key now has its effect.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $name:ident
        $(, later $feature_later:literal)? $(, feature $feature:literal)?
        $(, needs [$($needs:literal),+])? $(, check $check:ident)? {
            $(
                $(#[doc = $doc:literal])+
                $key:ident : $ty:ty $(= $default:expr)? $(=> $must:expr)? $(, later $later:literal)?
                $(, feature $key_feature:literal)? ;
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        $vis struct $name {
            $( $(#[doc = $doc])+ pub $key: $ty, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $crate::config::section::preset!($ty $(, $default)?), )* }
            }
        }

        impl $name {
            /// Its rows in the table of keys.
            pub(in $crate::config) const KEYS: &'static $crate::config::section::Spec =
                &$crate::config::section::Spec {
                    doc: concat!($($about, "\n"),+),
                    later: $crate::config::section::given!($($feature_later)?),
                    feature: $crate::config::section::given!($($feature)?),
                    needs: &[$($($needs),+)?],
                    keys: &[ $( $crate::config::section::Key {
                        name: stringify!($key),
                        doc: concat!($($doc, "\n"),+),
                        must: $crate::config::section::or!($crate::config::must::Must::Anything $(, $must)?),
                        later: $crate::config::section::given!($($later)?),
                        feature: $crate::config::section::given!($($key_feature)?),
                        form: <$ty as $crate::config::value::Value>::form,
                        default: || {
                            let default: $ty = $crate::config::section::preset!($ty $(, $default)?);
                            $crate::config::value::Value::show(&default)
                        },
                        secret: <$ty as $crate::config::value::Value>::SECRET,
                        section: <$ty as $crate::config::value::Value>::SPEC,
                        list: <$ty as $crate::config::value::Value>::LIST,
                    } ),* ],
                };
        }

        impl $crate::config::value::Value for $name {
            type Literal = ();
            const SPEC: Option<&'static $crate::config::section::Spec> = Some(Self::KEYS);

            fn form(_: &$crate::config::must::Must) -> String {
                "a table".to_owned()
            }

            fn preset((): ()) -> Self {
                Self::default()
            }

            fn show(&self) -> String {
                String::new()
            }

            fn entries(&self, path: &str, out: &mut Vec<$crate::config::changes::Entry>) {
                let dot = if path.is_empty() { "" } else { "." };
                $( $crate::config::value::Value::entries(
                    &self.$key, &format!("{path}{dot}{}", stringify!($key)), out
                ); )*
            }

            fn read(
                node: &$crate::config::value::Node<'_>,
                cx: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                let spec = Self::KEYS;
                let table = cx.table(node)?;
                let mut out = Self::default();
                let before = cx.enter(spec, table);
                for (name, node) in table {
                    match &**name.get_ref() {
                        $( stringify!($key) => cx.key(spec, name, node, &mut out.$key), )*
                        _ => cx.unknown(spec, name, node),
                    }
                }
                cx.leave(before, spec, node, table);
                $( $check(&out, node, table, cx); )?
                Some(out)
            }
        }
    };
}

/// The default of a key: the one written, else its type's.
macro_rules! preset {
    ($ty:ty) => {
        <$ty>::default()
    };
    ($ty:ty, $default:expr) => {
        <$ty as $crate::config::value::Value>::preset($default)
    };
}

/// `Some` of what is given.
macro_rules! given {
    () => {
        None
    };
    ($given:expr) => {
        Some($given)
    };
}

/// The second where it is given, else the first.
macro_rules! or {
    ($otherwise:expr) => {
        $otherwise
    };
    ($otherwise:expr, $given:expr) => {
        $given
    };
}

/// Declares an enum whose variants are words in the file:
/// `pub enum Name { /// doc  Variant = "word", … }`. With `, bool ("a", "b")` after the name, `true` means
/// the word a and `false` the word b. A `later "feature"` after a word marks a choice not built yet.
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        pub enum $name:ident = $default:ident $(, bool ($yes:literal, $no:literal))? {
            $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal $(, later $later:literal)? ; )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[doc = $doc])+ $variant, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        }

        impl $name {
            /// Name in the configuration.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )+
                }
            }
        }

        impl $crate::config::value::Choice for $name {
            const WORDS: &'static [(&'static str, Self, Option<&'static str>)] =
                &[ $( ($word, Self::$variant, $crate::config::section::given!($($later)?)), )+ ];
            const BOOL: Option<(&'static str, &'static str)> =
                $crate::config::section::given!($(($yes, $no))?);
        }
    };
}

pub(super) use {choice, given, or, preset, section};
