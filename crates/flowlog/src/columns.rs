//! Records as Parquet, written and read back (FL-73).

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::Arc;

use palisade_policy::flow_log::{Field, Format, Kind};
use parquet::basic::{Compression, ConvertedType, GzipLevel, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::{Field as Value, reader::RowIter};
use parquet::schema::types::{Type, TypePtr};

use crate::row;

/// Records of a row group: so many are in memory at a time.
const ROWS: usize = 65_536;

/// Writes a segment's text as Parquet: columns of the types of section 4, each compressed with gzip, `_` for `-` in names.
/// The same text gives the same bytes.
///
/// # Errors
///
/// Those of the reader and the writer; the text does not begin with a header.
pub(crate) fn write(text: impl BufRead, into: impl Write + Send) -> io::Result<()> {
    let mut lines = text.lines();
    let header = lines.next().transpose()?.unwrap_or_default();
    let format = Format::parse_header(&header).map_err(io::Error::other)?;
    write_lines(&format, lines, into).map_err(io_error)
}

fn write_lines(
    format: &Format,
    lines: impl Iterator<Item = io::Result<String>>,
    into: impl Write + Send,
) -> Result<()> {
    let compression = Compression::GZIP(GzipLevel::default());
    // Without dictionaries, which old readers know under another name: gzip finds repetitions too.
    let properties =
        WriterProperties::builder().set_compression(compression).set_dictionary_enabled(false).build();
    let properties = Arc::new(properties);
    let mut file = SerializedFileWriter::new(into, schema(format)?, properties)?;
    let empty = || format.fields().iter().map(|field| Column::of(*field)).collect::<Vec<_>>();
    let (mut columns, mut rows) = (empty(), 0);
    for line in lines {
        let line = line?;
        for (column, (_, value)) in columns.iter_mut().zip(row::values(format, &line)) {
            column.push(value);
        }
        rows += 1;
        if rows == ROWS {
            write_group(&mut file, &columns)?;
            (columns, rows) = (empty(), 0);
        }
    }
    if rows > 0 {
        write_group(&mut file, &columns)?;
    }
    file.close().map(|_| ())
}

fn schema(format: &Format) -> Result<TypePtr> {
    let fields: Result<Vec<_>> =
        format.fields().iter().map(|field| column_type(*field).map(Arc::new)).collect();
    Type::group_type_builder("flow_log").with_fields(fields?).build().map(Arc::new)
}

fn column_type(field: Field) -> Result<Type> {
    let (physical, converted) = match field.kind() {
        Kind::Text => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
        Kind::Int32 => (Physical::INT32, ConvertedType::INT_32),
        Kind::Int64 => (Physical::INT64, ConvertedType::INT_64),
    };
    Type::primitive_type_builder(&field.as_str().replace('-', "_"), physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_converted_type(converted)
        .build()
}

/// Values of one column of a row group, and at which rows there are some.
struct Column {
    values: Values,
    defined: Vec<i16>,
}

enum Values {
    Text(Vec<ByteArray>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
}

impl Column {
    const fn of(field: Field) -> Self {
        let values = match field.kind() {
            Kind::Text => Values::Text(Vec::new()),
            Kind::Int32 => Values::Int32(Vec::new()),
            Kind::Int64 => Values::Int64(Vec::new()),
        };
        Self { values, defined: Vec::new() }
    }

    fn push(&mut self, value: Option<&str>) {
        let is_there = match (&mut self.values, value) {
            (Values::Text(values), Some(text)) => {
                values.push(text.into());
                true
            }
            (Values::Int32(values), Some(text)) => push_number(values, text),
            (Values::Int64(values), Some(text)) => push_number(values, text),
            (_, None) => false,
        };
        self.defined.push(is_there.into());
    }
}

fn push_number<T: std::str::FromStr>(values: &mut Vec<T>, text: &str) -> bool {
    let number = text.parse();
    let is_there = number.is_ok();
    values.extend(number);
    is_there
}

fn write_group<W: Write + Send>(file: &mut SerializedFileWriter<W>, columns: &[Column]) -> Result<()> {
    let mut group = file.next_row_group()?;
    for Column { values, defined } in columns {
        let Some(mut column) = group.next_column()? else { break };
        let levels = Some(&**defined);
        match (column.untyped(), values) {
            (ColumnWriter::ByteArrayColumnWriter(writer), Values::Text(values)) => {
                writer.write_batch(values, levels, None)?;
            }
            (ColumnWriter::Int32ColumnWriter(writer), Values::Int32(values)) => {
                writer.write_batch(values, levels, None)?;
            }
            (ColumnWriter::Int64ColumnWriter(writer), Values::Int64(values)) => {
                writer.write_batch(values, levels, None)?;
            }
            _ => return Err(ParquetError::General("a column is not of its field's type".into())),
        }
        column.close()?;
    }
    group.close().map(|_| ())
}

/// Names of the fields of a file, and its records as lines of text.
///
/// # Errors
///
/// It cannot be read, or is not Parquet.
pub(crate) fn read(
    path: &Path,
) -> io::Result<(Vec<String>, impl Iterator<Item = io::Result<String>> + use<>)> {
    let reader = SerializedFileReader::new(File::open(path)?).map_err(io_error)?;
    let schema = reader.metadata().file_metadata().schema();
    let names = schema.get_fields().iter().map(|field| field.name().replace('_', "-")).collect();
    let rows = RowIter::from_file_into(Box::new(reader));
    Ok((
        names,
        rows.map(|row| row.map_err(io_error).map(|row| line(row.get_column_iter().map(|(_, value)| value)))),
    ))
}

fn line<'v>(values: impl Iterator<Item = &'v Value>) -> String {
    let words: Vec<_> = values
        .map(|value| match value {
            Value::Null => "-".to_owned(),
            Value::Str(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    words.join(" ")
}

fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) => *cause,
            Err(cause) => io::Error::other(cause),
        },
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "version srcaddr bytes dstport action log-status\n\
                        2 10.0.0.1 7000000000 443 ACCEPT OK\n\
                        2 - - - - NODATA\n";

    /// FL-73: types and names as documented, nulls for what is missing.
    #[test]
    fn fl_73_parquet_has_typed_columns() {
        let mut out = Vec::new();
        write(TEXT.as_bytes(), &mut out).unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(out.clone())).unwrap();
        let group = reader.metadata().row_group(0);
        let shown: Vec<_> = (0..group.num_columns())
            .map(|at| {
                let column = group.column(at);
                let (name, kind) = (column.column_descr().name(), column.column_descr().converted_type());
                assert!(matches!(column.compression(), Compression::GZIP(_)));
                format!("{name} {kind}")
            })
            .collect();
        assert_eq!(
            shown,
            [
                "version INT_32",
                "srcaddr UTF8",
                "bytes INT_64",
                "dstport INT_32",
                "action UTF8",
                "log_status UTF8"
            ]
        );
        let mut again = Vec::new();
        write(TEXT.as_bytes(), &mut again).unwrap();
        assert!(out == again, "the same text is the same object");
    }

    #[test]
    fn parquet_is_read_back() {
        let root = tempfile::TempDir::new().unwrap();
        let path = root.path().join("x.log.parquet");
        let many: Vec<_> = (0..=ROWS).map(|at| format!("2 10.0.0.1 {at} 443 ACCEPT OK\n")).collect();
        let text = format!("{TEXT}{}", many.concat());
        write(text.as_bytes(), File::create(&path).unwrap()).unwrap();
        let (names, lines) = read(&path).unwrap();
        assert_eq!(names.join(" "), text.lines().next().unwrap());
        let lines: Vec<_> = lines.map(io::Result::unwrap).collect();
        assert_eq!(lines, text.lines().skip(1).collect::<Vec<_>>());
    }
}
