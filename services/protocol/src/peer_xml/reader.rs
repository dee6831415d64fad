//! Reading.

use super::{Call, RemoteFault, XmlError, XmlLimits};
use crate::limits::{MAX_XML_DEPTH, MAX_XML_MEMBERS};
use crate::text;
use dxr::Value;
use quick_xml::Reader;
use quick_xml::events::Event;
use std::collections::BTreeMap;

/// Reads a call.
///
/// # Errors
/// [`XmlError`] as soon as the document breaks a rule or a limit.
pub fn read_call(body: &[u8], limits: XmlLimits) -> Result<Call, XmlError> {
    call(Source::new(body, limits)?)
}

/// As [`read_call`], and calls `pause` after every [`PIECE`] of the document: a long one takes milliseconds, and a thread
/// that stands back for others has to say when.
///
/// # Errors
/// [`XmlError`] as soon as the document breaks a rule or a limit.
pub fn read_call_in_pieces(body: &[u8], limits: XmlLimits, pause: fn()) -> Result<Call, XmlError> {
    let mut source = Source::new(body, limits)?;
    source.pause = Some(pause);
    call(source)
}

/// So many tags and texts, some ten microseconds.
const PIECE: usize = 64;

fn call(mut source: Source<'_>) -> Result<Call, XmlError> {
    source.open("methodCall")?;
    source.open("methodName")?;
    let method = source.text()?;
    let mut params = Vec::new();
    match source.next_element()? {
        Some(Tag::Params) => {
            while let Some(tag) = source.next_element()? {
                tag.expect(Tag::Param)?;
                params.push(source.only_value()?);
            }
            source.close()?;
        }
        // A call without parameters may leave the list out.
        None => {}
        Some(_) => return Err(XmlError::NotRpc),
    }
    source.end()?;
    Ok(Call {
        method: method.trim().to_owned(),
        params,
    })
}

/// Reads an answer: a value, or the fault that came instead.
///
/// # Errors
/// [`XmlError`] as soon as the document breaks a rule or a limit.
pub fn read_response(body: &[u8], limits: XmlLimits) -> Result<Result<Value, RemoteFault>, XmlError> {
    let mut source = Source::new(body, limits)?;
    source.open("methodResponse")?;
    match source.next_element()? {
        Some(Tag::Params) => {
            source.next_element()?.ok_or(XmlError::NotRpc)?.expect(Tag::Param)?;
            let value = source.only_value()?;
            source.close()?;
            source.close()?;
            source.end()?;
            Ok(Ok(value))
        }
        Some(Tag::Fault) => {
            let value = source.only_value()?;
            source.close()?;
            source.end()?;
            Ok(Err(fault(value)?))
        }
        _ => Err(XmlError::NotRpc),
    }
}

fn fault(value: Value) -> Result<RemoteFault, XmlError> {
    let Value::Struct(members) = value else {
        return Err(XmlError::NotRpc);
    };
    match (members.get("faultCode"), members.get("faultString")) {
        (Some(Value::Integer(code)), Some(Value::String(string))) => Ok(RemoteFault {
            code: *code,
            text: text::prefix(string, 1_000).to_owned(),
        }),
        _ => Err(XmlError::NotRpc),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    MethodCall,
    MethodResponse,
    MethodName,
    Params,
    Param,
    Fault,
    Value,
    Struct,
    Member,
    Name,
    Array,
    Data,
    Int,
    Boolean,
    String,
    Double,
    Base64,
    DateTime,
    Nil,
}

impl Tag {
    fn of(name: &[u8]) -> Result<Self, XmlError> {
        Ok(match name {
            b"methodCall" => Self::MethodCall,
            b"methodResponse" => Self::MethodResponse,
            b"methodName" => Self::MethodName,
            b"params" => Self::Params,
            b"param" => Self::Param,
            b"fault" => Self::Fault,
            b"value" => Self::Value,
            b"struct" => Self::Struct,
            b"member" => Self::Member,
            b"name" => Self::Name,
            b"array" => Self::Array,
            b"data" => Self::Data,
            b"int" | b"i1" | b"i2" | b"i4" | b"i8" | b"ex:i1" | b"ex:i2" | b"ex:i8" | b"biginteger" => Self::Int,
            b"boolean" => Self::Boolean,
            b"string" => Self::String,
            b"double" => Self::Double,
            b"base64" => Self::Base64,
            b"dateTime.iso8601" => Self::DateTime,
            b"nil" | b"ex:nil" => Self::Nil,
            _ => return Err(XmlError::NotRpc),
        })
    }

    fn expect(self, wanted: Self) -> Result<(), XmlError> {
        if self == wanted { Ok(()) } else { Err(XmlError::NotRpc) }
    }
}

enum Token {
    Open(Tag),
    Close,
    Text(String),
    End,
}

struct Source<'a> {
    reader: Reader<&'a [u8]>,
    elements_left: usize,
    depth: usize,
    /// Nothing was read yet: here, and only here, may stand a declaration.
    begins: bool,
    /// What to do between two pieces.
    pause: Option<fn()>,
    /// Tags and texts so far.
    seen: usize,
}

impl<'a> Source<'a> {
    fn new(body: &'a [u8], limits: XmlLimits) -> Result<Self, XmlError> {
        if body.len() > limits.bytes {
            return Err(XmlError::TooLarge);
        }
        let text = std::str::from_utf8(body).map_err(|_| XmlError::NotUtf8)?;
        let mut reader = Reader::from_str(text.strip_prefix('\u{FEFF}').unwrap_or(text));
        reader.config_mut().expand_empty_elements = true;
        Ok(Self {
            reader,
            elements_left: limits.elements,
            depth: 0,
            begins: true,
            pause: None,
            seen: 0,
        })
    }

    fn next(&mut self) -> Result<Token, XmlError> {
        loop {
            self.seen += 1;
            if let Some(pause) = self.pause
                && self.seen.is_multiple_of(PIECE)
            {
                pause();
            }
            let begins = std::mem::replace(&mut self.begins, false);
            return match self.reader.read_event().map_err(|_| XmlError::NotXml)? {
                // XML-RPC knows no attributes, and nobody writes any.
                Event::Start(start) if !start.attributes_raw().trim().is_empty() => Err(XmlError::NotAllowed),
                Event::Start(start) => {
                    self.depth += 1;
                    if self.depth > MAX_XML_DEPTH {
                        return Err(XmlError::TooDeep);
                    }
                    self.elements_left = self.elements_left.checked_sub(1).ok_or(XmlError::TooMany)?;
                    Ok(Token::Open(Tag::of(start.name().as_ref().as_bytes())?))
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    Ok(Token::Close)
                }
                Event::Text(text) => Ok(Token::Text(normalised(&text)?)),
                Event::CData(text) => Ok(Token::Text(normalised(&text)?)),
                Event::GeneralRef(reference) => Ok(Token::Text(character(reference.as_bytes())?.into())),
                Event::Decl(_) if !begins => Err(XmlError::NotXml),
                Event::Comment(_) | Event::Decl(_) => continue,
                Event::Empty(_) => Err(XmlError::NotXml),
                Event::DocType(_) | Event::PI(_) => Err(XmlError::NotAllowed),
                Event::Eof if self.depth == 0 => Ok(Token::End),
                Event::Eof => Err(XmlError::NotXml),
            };
        }
    }

    /// The next element inside the present one, or `None` at its end. Only white space may stand between.
    fn next_element(&mut self) -> Result<Option<Tag>, XmlError> {
        loop {
            match self.next()? {
                Token::Open(tag) => return Ok(Some(tag)),
                Token::Close => return Ok(None),
                Token::Text(text) if text.trim().is_empty() => {}
                Token::Text(_) => return Err(XmlError::NotRpc),
                Token::End => return Err(XmlError::NotXml),
            }
        }
    }

    fn open(&mut self, name: &str) -> Result<(), XmlError> {
        self.next_element()?
            .ok_or(XmlError::NotRpc)?
            .expect(Tag::of(name.as_bytes())?)
    }

    fn close(&mut self) -> Result<(), XmlError> {
        match self.next_element()? {
            None => Ok(()),
            Some(_) => Err(XmlError::NotRpc),
        }
    }

    /// Nothing but white space may follow the root.
    fn end(&mut self) -> Result<(), XmlError> {
        loop {
            match self.next()? {
                Token::Close | Token::End if self.depth == 0 => return self.tail(),
                Token::Text(text) if text.trim().is_empty() => {}
                _ => return Err(XmlError::NotRpc),
            }
        }
    }

    fn tail(&mut self) -> Result<(), XmlError> {
        loop {
            match self.next()? {
                Token::End => return Ok(()),
                Token::Text(text) if text.trim().is_empty() => {}
                _ => return Err(XmlError::NotRpc),
            }
        }
    }

    /// The text up to the end of the present element.
    fn text(&mut self) -> Result<String, XmlError> {
        let mut all = String::new();
        loop {
            match self.next()? {
                Token::Text(text) if all.is_empty() => all = text,
                Token::Text(text) => all.push_str(&text),
                Token::Close => return Ok(all),
                Token::Open(_) => return Err(XmlError::NotRpc),
                Token::End => return Err(XmlError::NotXml),
            }
        }
    }

    /// A value that is the whole content of the present element, and the end of that element.
    fn only_value(&mut self) -> Result<Value, XmlError> {
        self.next_element()?.ok_or(XmlError::NotRpc)?.expect(Tag::Value)?;
        let value = self.value()?;
        self.close()?;
        Ok(value)
    }

    /// The rest of a `<value>` whose tag was read. Recursion is bounded by the depth of elements.
    fn value(&mut self) -> Result<Value, XmlError> {
        let mut untyped = String::new();
        loop {
            match self.next()? {
                Token::Text(text) => untyped.push_str(&text),
                Token::Close => return Ok(Value::String(untyped)),
                Token::Open(tag) if untyped.trim().is_empty() => {
                    let value = self.typed(tag)?;
                    self.close()?;
                    return Ok(value);
                }
                Token::Open(_) => return Err(XmlError::NotRpc),
                Token::End => return Err(XmlError::NotXml),
            }
        }
    }

    fn typed(&mut self, tag: Tag) -> Result<Value, XmlError> {
        match tag {
            Tag::String => Ok(Value::String(self.text()?)),
            Tag::Int => {
                let number: i64 = self.text()?.trim().parse().map_err(|_| XmlError::BadValue)?;
                Ok(i32::try_from(number).map_or(Value::Long(number), Value::Integer))
            }
            Tag::Boolean => match self.text()?.trim() {
                "0" => Ok(Value::Boolean(false)),
                "1" => Ok(Value::Boolean(true)),
                _ => Err(XmlError::BadValue),
            },
            // Rust also reads "inf" and "NaN", which no other reader of XML-RPC would take from us.
            Tag::Double => match self.text()?.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Value::Double(number)),
                _ => Err(XmlError::BadValue),
            },
            Tag::Nil => {
                self.close()?;
                Ok(Value::Nil)
            }
            Tag::Struct => self.members(),
            Tag::Array => self.elements(),
            // No method of ours or of an original node has them; as text they fail where a type is wanted.
            Tag::DateTime | Tag::Base64 => Ok(Value::String(self.text()?)),
            _ => Err(XmlError::NotRpc),
        }
    }

    fn members(&mut self) -> Result<Value, XmlError> {
        let mut members = BTreeMap::new();
        while let Some(tag) = self.next_element()? {
            tag.expect(Tag::Member)?;
            self.open("name")?;
            if members.len() == MAX_XML_MEMBERS {
                return Err(XmlError::TooMany);
            }
            let name = self.text()?;
            // Readers differ in which one of two they take, so nobody may write two.
            if members.insert(name, self.only_value()?).is_some() {
                return Err(XmlError::NotRpc);
            }
        }
        Ok(Value::Struct(members))
    }

    fn elements(&mut self) -> Result<Value, XmlError> {
        self.open("data")?;
        let mut values = Vec::new();
        while let Some(tag) = self.next_element()? {
            tag.expect(Tag::Value)?;
            values.push(self.value()?);
        }
        self.close()?;
        Ok(Value::Array(values))
    }
}

/// Text as XML means it: line ends are line feeds. What XML forbids is refused, also where the library lets it pass.
fn normalised(text: &str) -> Result<String, XmlError> {
    if text::first_forbidden(text).is_some() {
        return Err(XmlError::NotXml);
    }
    Ok(text::normalise_newlines(text).into_owned())
}

fn character(name: &[u8]) -> Result<char, XmlError> {
    let number = |digits: &[u8], radix| {
        let digits = std::str::from_utf8(digits).map_err(|_| XmlError::NotXml)?;
        let code = u32::from_str_radix(digits, radix).map_err(|_| XmlError::NotXml)?;
        char::from_u32(code)
            .filter(|c| !text::is_forbidden(*c))
            .ok_or(XmlError::NotXml)
    };
    match name {
        b"amp" => Ok('&'),
        b"lt" => Ok('<'),
        b"gt" => Ok('>'),
        b"quot" => Ok('"'),
        b"apos" => Ok('\''),
        [b'#', b'x', hex @ ..] => number(hex, 16),
        [b'#', decimal @ ..] => number(decimal, 10),
        _ => Err(XmlError::NotAllowed),
    }
}
