//! The plainest format that holds what serde can say, for snapshots that only these tests read:
//! numbers in eight bytes, lengths before what is long, variants by number, no names.

use std::fmt;

use serde::{
    Serialize, Serializer,
    de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor},
    ser::{self, SerializeMap},
};

pub fn write<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Out(Vec::new());
    value.serialize(&mut out).unwrap();
    out.0
}

pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> T {
    let mut rest = Rest(bytes);
    let value = T::deserialize(&mut rest).unwrap();
    assert!(rest.0.is_empty(), "all of it is read");
    value
}

#[derive(Debug)]
pub struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl ser::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault(message.to_string())
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault(message.to_string())
    }
}

type Done = Result<(), Fault>;

struct Out(Vec<u8>);

impl Out {
    fn number(&mut self, number: u64) -> Done {
        self.0.extend(number.to_le_bytes());
        Ok(())
    }

    fn length(&mut self, length: Option<usize>) -> Result<&mut Out, Fault> {
        self.number(length.expect("the snapshot's collections know their length") as u64)?;
        Ok(self)
    }
}

macro_rules! write_numbers {
    ($($name:ident $type:ty)*) => {$(
        fn $name(self, value: $type) -> Done {
            self.number(value as u64)
        }
    )*};
}

impl<'a> Serializer for &'a mut Out {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = &'a mut Out;
    type SerializeTuple = &'a mut Out;
    type SerializeTupleStruct = &'a mut Out;
    type SerializeTupleVariant = &'a mut Out;
    type SerializeMap = &'a mut Out;
    type SerializeStruct = &'a mut Out;
    type SerializeStructVariant = &'a mut Out;

    write_numbers! {
        serialize_bool bool serialize_i8 i8 serialize_i16 i16 serialize_i32 i32 serialize_i64 i64
        serialize_u8 u8 serialize_u16 u16 serialize_u32 u32 serialize_u64 u64 serialize_char char
    }

    fn serialize_f32(self, value: f32) -> Done {
        self.number(u64::from(value.to_bits()))
    }

    fn serialize_f64(self, value: f64) -> Done {
        self.number(value.to_bits())
    }

    fn serialize_str(self, text: &str) -> Done {
        self.serialize_bytes(text.as_bytes())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Done {
        self.length(Some(bytes.len()))?.0.extend(bytes);
        Ok(())
    }

    fn serialize_none(self) -> Done {
        self.number(0)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        self.number(1)?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Done {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, variant: u32, _: &'static str) -> Done {
        self.number(u64::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        value: &T,
    ) -> Done {
        self.number(u64::from(variant))?;
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<&'a mut Out, Fault> {
        self.length(length)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<&'a mut Out, Fault> {
        self.length(length)
    }

    fn serialize_tuple(self, _: usize) -> Result<&'a mut Out, Fault> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<&'a mut Out, Fault> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<&'a mut Out, Fault> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<&'a mut Out, Fault> {
        self.number(u64::from(variant))?;
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<&'a mut Out, Fault> {
        self.number(u64::from(variant))?;
        Ok(self)
    }
}

macro_rules! write_parts {
    ($($kind:ident $part:ident($($name:ty)?);)*) => {$(
        impl ser::$kind for &mut Out {
            type Ok = ();
            type Error = Fault;

            fn $part<T: Serialize + ?Sized>(&mut self, $(_: $name,)? value: &T) -> Done {
                value.serialize(&mut **self)
            }

            fn end(self) -> Done {
                Ok(())
            }
        }
    )*};
}

write_parts! {
    SerializeSeq serialize_element();
    SerializeTuple serialize_element();
    SerializeTupleStruct serialize_field();
    SerializeTupleVariant serialize_field();
    SerializeStruct serialize_field(&'static str);
    SerializeStructVariant serialize_field(&'static str);
}

impl SerializeMap for &mut Out {
    type Ok = ();
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        value.serialize(&mut **self)
    }

    fn end(self) -> Done {
        Ok(())
    }
}

struct Rest<'de>(&'de [u8]);

impl<'de> Rest<'de> {
    fn number(&mut self) -> Result<u64, Fault> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Fault("cut off".into()))?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    fn count(&mut self) -> Result<usize, Fault> {
        usize::try_from(self.number()?).map_err(de::Error::custom)
    }

    fn text(&mut self) -> Result<&'de str, Fault> {
        let length = self.count()?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Fault("cut off".into()))?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(de::Error::custom)
    }
}

macro_rules! read_numbers {
    ($($name:ident $visit:ident $type:ty)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit(<$type>::try_from(self.number()?).map_err(de::Error::custom)?)
        }
    )*};
}

macro_rules! never_read {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
            Err(Fault(concat!("a snapshot has no use for ", stringify!($name)).into()))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Rest<'de> {
    type Error = Fault;

    read_numbers! {
        deserialize_u8 visit_u8 u8 deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32 deserialize_u64 visit_u64 u64
    }

    never_read! {
        deserialize_any deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_f32
        deserialize_f64 deserialize_char deserialize_bytes deserialize_byte_buf deserialize_identifier
        deserialize_ignored_any
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(self.number()? != 0)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.number()? == 0 { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let left = self.count()?;
        visitor.visit_seq(Parts { rest: self, left })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let left = self.count()?;
        visitor.visit_map(Parts { rest: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Parts { rest: self, left })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_seq(Parts { rest: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_seq(Parts { rest: self, left: fields.len() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The parts of something long that are still to be read.
struct Parts<'a, 'de> {
    rest: &'a mut Rest<'de>,
    left: usize,
}

impl<'de> de::SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.rest).map(Some)
    }
}

impl<'de> de::MapAccess<'de> for Parts<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        seed.deserialize(&mut *self.rest)
    }
}

impl<'de> de::EnumAccess<'de> for &mut Rest<'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let variant = u32::try_from(self.number()?).map_err(<Fault as de::Error>::custom)?;
        let value = seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(variant))?;
        Ok((value, self))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Rest<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Done {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Parts { rest: self, left })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_seq(Parts { rest: self, left: fields.len() })
    }
}
